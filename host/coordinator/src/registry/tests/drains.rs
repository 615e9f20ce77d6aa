//! Agents that are drained and taken back.

use super::*;

impl Network {
    fn wish(&mut self, name: &str, drain: bool) -> Token {
        self.ask("c", Call::Drain { agent: agent(name), drain })
    }

    /// The agent that was asked to drain, or no longer to, obeys.
    fn obeys(&mut self) {
        let (token, agent, drain) = self.drains.remove(0);
        let intake = if drain { Intake::Draining } else { Intake::Open };
        let result = Ok(Load { used: 0, intake });
        self.step(Input::Drained { token, agent, result });
    }

    fn intake(&mut self, token: Token) -> Intake {
        match self.answer(token) {
            Ok(Reply::Agent(record)) => record.load.intake,
            other => panic!("{other:?}"),
        }
    }
}

fn network() -> Network {
    let mut network = Network::new();
    network.join("c");
    network.agent("a", &["echo"]);
    network.agent("b", &["echo"]);
    network
}

#[test]
fn a_drained_agent_gets_nothing_new_until_it_is_taken_back() {
    let mut network = network();
    let token = network.wish("a", true);
    assert!(network.waits(token), "it is done when the agent has obeyed");
    network.obeys();
    assert_eq!(network.intake(token), Intake::Draining);
    for uuid in ["x", "y", "z"] {
        assert_eq!(network.run("c", uuid).agent, agent("b"));
    }
    let token = network.wish("a", false);
    network.obeys();
    assert_eq!(network.intake(token), Intake::Open);
    assert!(["v", "w"].map(|uuid| network.run("c", uuid).agent).contains(&agent("a")));
}

#[test]
fn what_a_drained_agent_runs_stays_as_long_as_it_is_held_and_ends_then() {
    let mut network = network();
    let held = network.run("c", "x");
    network.wish(held.agent.as_str(), true);
    network.obeys();
    network.advance(60 * SECOND);
    assert!(network.exists("x"));
    let again = network.get("c", by_uuid("x"));
    assert_eq!(network.record(again).epoch, held.epoch);
    network.release("c", "x");
    network.release("c", "x");
    network.advance(6 * SECOND);
    let asked = network.take_asked();
    assert_eq!((asked.agent.clone(), asked.start), (held.agent.clone(), false));
    network.terminated(&asked, Ok(true));
    assert!(!network.exists("x"));
}

#[test]
fn what_waits_for_room_starts_when_the_agent_is_taken_back() {
    let mut network = Network::new();
    network.join("c");
    network.agent_as("a", |sent| sent.offers = vec![echo("main")]);
    let main = network.take_asked();
    network.started(&main, Ok(()));
    network.wish("a", true);
    network.obeys();
    network.ended(&main);
    network.report("a", 0, Intake::Draining);
    network.advance(10 * SECOND);
    assert_eq!(network.asked, [], "it takes nothing");
    network.wish("a", false);
    network.obeys();
    network.advance(10 * SECOND);
    assert!(network.take_asked().start);
}

#[test]
fn a_coordinator_that_starts_anew_learns_it_from_the_registration() {
    let mut network = network();
    network.agent_as("d", |sent| sent.load.intake = Intake::Draining);
    let placed: Vec<AgentId> = (0..4).map(|n| network.run("c", &format!("x{n}")).agent).collect();
    assert!(!placed.contains(&agent("d")), "{placed:?}");
}

#[test]
fn an_agent_that_is_not_there_is_named_with_those_that_are() {
    let mut network = network();
    let token = network.wish("z", true);
    let error = network.error(token);
    assert_eq!(error.kind, ErrorKind::InvalidArguments);
    assert_eq!(error.message, "no agent z is registered; agents registered now: a, b");
}

#[test]
fn an_agent_that_does_not_answer_is_an_error_and_nothing_changes() {
    let mut network = network();
    let token = network.wish("a", true);
    let (waiting, id, _) = network.drains.remove(0);
    let result = Err(NetworkError::maybe_processed(ErrorKind::Unavailable, "it is lost"));
    network.step(Input::Drained { token: waiting, agent: id, result });
    assert_eq!(network.error(token).message, "it is lost");
    assert!(["x", "y"].map(|uuid| network.run("c", uuid).agent).contains(&agent("a")));
}
