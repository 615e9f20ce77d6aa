"""A poll. Each container is one poll; everybody who is connected hears how it
stands. The first `get` hands over what there is to choose from, as JSON."""

import json

from hulynet import Connection, Guest, Kind, Refusal, operation


class Poll(Kind):
    def start(self, extra: bytes) -> None:
        choices: list[str] = json.loads(extra) if extra else ["yes", "no"]
        self.votes: dict[str, str] = {}
        self.counts: dict[str, int] = dict.fromkeys(choices, 0)

    def connect(self, connection: Connection) -> None:
        self.send(connection.id, self.counts)

    @operation
    def vote(self, choice: str) -> dict[str, int]:
        """Votes, or votes anew."""
        voter = self.caller.account
        if voter is None:
            raise Refusal("only somebody with an account votes")
        if choice not in self.counts:
            raise Refusal(f"there is no {choice!r}; there are: {', '.join(self.counts)}")
        before = self.votes.get(voter)
        if before is not None:
            self.counts[before] -= 1
        self.votes[voter] = choice
        self.counts[choice] += 1
        self.broadcast(self.counts)
        return self.counts

    @operation
    def leading(self, least: int = 1) -> list[str]:
        """What got the most votes, if that are at least so many."""
        most = max(self.counts.values())
        return [choice for choice, count in self.counts.items() if count == most >= least]

    @operation
    def stumble(self) -> None:
        """Fails, as a defect would."""
        raise ZeroDivisionError("it stumbled")


class GuestSync(Guest):
    kind = Poll
