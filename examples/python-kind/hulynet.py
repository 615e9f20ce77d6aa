"""What makes kinds in Python pleasant: operations are methods, their arguments
are checked by their annotations, and what they raise is a typed error.

Payloads are JSON, as the SDK for Rust and the command line have them: arguments
come in an array in order, or in an object by name.
"""

import inspect
import json
import traceback
from collections.abc import Callable
from typing import Any, get_origin

from componentize_py_types import Err
from wit_world.exports.guest_sync import Caller, Connection, Incoming, Termination
from wit_world.imports import connections, log
from wit_world.imports.common import Error, ErrorKind, Retry

__all__ = ["Caller", "Connection", "ErrorKind", "Guest", "Kind", "Refusal", "Retry", "operation"]


class Refusal(Exception):
    """An error that crosses the network: what it is, and whether a retry is safe."""

    def __init__(
        self,
        message: str,
        kind: ErrorKind = ErrorKind.APPLICATION,
        retry: Retry = Retry.FINAL,
    ) -> None:
        super().__init__(message)
        self.error = Error(kind, retry, message)


def operation[F: Callable[..., Any]](method: F) -> F:
    """Marks a method of a kind as an operation."""
    method.operation = True  # type: ignore[attr-defined]
    return method


class Kind:
    """One container. Its state is made when it starts and ends with it."""

    #: Who asks, while an operation runs.
    caller: Caller

    def start(self, extra: bytes) -> None:
        """`extra` is what the first `get` handed over."""

    def connect(self, connection: Connection) -> None:
        """A client connects; a `Refusal` keeps it out."""

    def disconnect(self, id: str) -> None:
        """A client is gone."""

    def terminate(self, force: bool) -> bool:
        """Whether the container may end now."""
        return True

    def broadcast(self, event: Any) -> None:
        """Sends an event to everybody who is connected."""
        connections.broadcast(json.dumps(event).encode())

    def send(self, connection: str, event: Any) -> None:
        """Sends an event to one connection."""
        connections.send(connection, json.dumps(event).encode())


class Guest:
    """The exports of a component: subclass it as `GuestSync` and name the kind."""

    kind: type[Kind]
    _container: Kind

    def start(self, extra: bytes) -> None:
        def start() -> None:
            Guest._container = self.kind()
            Guest._container.start(extra)

        _answer("start", start)

    def request(self, request: Incoming) -> bytes:
        def run() -> bytes:
            method = _operations(self.kind).get(request.operation)
            if method is None:
                known = ", ".join(_operations(self.kind))
                message = f"there is no operation {request.operation!r}; there are: {known}"
                raise Refusal(message, ErrorKind.UNKNOWN_OPERATION)
            arguments = _arguments(request.operation, method, request.payload)
            self._container.caller = request.caller
            return json.dumps(method(self._container, **arguments)).encode()

        return _answer(request.operation, run)

    def connect(self, connection: Connection) -> None:
        _answer("connect", lambda: self._container.connect(connection))

    def disconnect(self, connection: str) -> None:
        self._container.disconnect(connection)

    def ping(self) -> None:
        pass

    def terminate(self, force: bool) -> Termination:
        return Termination.ENDED if self._container.terminate(force) else Termination.NOT_YET


def _operations(kind: type[Kind]) -> dict[str, Callable[..., Any]]:
    return {name: method for name, method in vars(kind).items() if hasattr(method, "operation")}


def _arguments(name: str, method: Callable[..., Any], payload: bytes) -> dict[str, Any]:
    """The arguments of a request, checked against the method's annotations."""
    parameters = dict(list(inspect.signature(method).parameters.items())[1:])

    def wrong(why: str) -> Refusal:
        takes = ", ".join(parameters) or "nothing"
        return Refusal(f"{name} takes {takes}: {why}", ErrorKind.INVALID_ARGUMENTS)

    try:
        given = json.loads(payload) if payload else {}
    except ValueError as cause:
        raise wrong(str(cause)) from None
    if isinstance(given, list):
        if len(given) > len(parameters):
            raise wrong(f"{len(given)} were given")
        given = dict(zip(parameters, given))
    given = {} if given is None else given
    if not isinstance(given, dict):
        raise wrong("they come in an array or an object")
    for unknown in given.keys() - parameters.keys():
        raise wrong(f"there is no {unknown!r}")
    for parameter in parameters.values():
        kind = get_origin(parameter.annotation) or parameter.annotation
        if parameter.name not in given:
            if parameter.default is inspect.Parameter.empty:
                raise wrong(f"{parameter.name} is missing")
        # To Python, a bool is an int.
        elif type(given[parameter.name]) is not kind:
            raise wrong(f"{parameter.name} must be {parameter.annotation.__name__}")
    return given


def _answer[T](what: str, answer: Callable[[], T]) -> T:
    """Turns what is raised into what the contract has. An exception that is no
    refusal is a defect of the kind, so its trace goes to the log."""
    try:
        return answer()
    except Refusal as refusal:
        raise Err(refusal.error) from None
    except Err:
        # From the network: it may be passed on as it is.
        raise
    except Exception as defect:
        trace = "".join(traceback.format_exception(defect))
        log.write(log.Level.ERROR, f"{what} failed: {defect!r}", [("trace", trace)])
        message = f"{what} failed: {defect!r}"
        raise Err(Error(ErrorKind.APPLICATION, Retry.MAYBE_PROCESSED, message)) from None
