//! Agents of the original network give whoever names no container one that
//! they choose.

use super::*;

/// An agent that runs "x", which "c" holds, and a get of "d" that names
/// nothing, with the order that the agent has for it.
fn asked() -> (Network, Token, Asked) {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    network.join("d");
    network.run("c", "x");
    let token = network.get("d", GetOptions::default());
    let asked = network.take_asked();
    (network, token, asked)
}

fn give(network: &mut Network, asked: &Asked, uuid: &str) {
    let Asked { agent, id, epoch, .. } = asked.clone();
    network.step(Input::Given { agent, id, epoch, given: echo(uuid).uuid });
}

#[test]
fn whoever_is_given_a_container_that_lives_holds_it() {
    let (mut network, token, asked) = asked();
    give(&mut network, &asked, "x");
    assert_eq!((network.record(token).id.clone(), network.record(token).holders), (echo("x"), 2));
    assert!(!network.exists(asked.id.uuid.as_str()), "the name that nobody took");
    network.release("c", "x");
    network.advance(60 * SECOND);
    assert_eq!((network.asked.clone(), network.holders("x")), (vec![], 1));
    network.release("d", "x");
    network.advance(5 * SECOND);
    assert!(!network.take_asked().start);
}

#[test]
fn what_was_given_is_shared_from_then_on() {
    let (mut network, _, asked) = asked();
    give(&mut network, &asked, "new");
    network.join("e");
    let token = network.get("e", GetOptions::default());
    assert_eq!(network.record(token).id, echo("new"));
    assert_eq!((network.asked.clone(), network.holders("new")), (vec![], 2));
}

#[test]
fn a_container_that_lives_elsewhere_cannot_be_given() {
    let (mut network, token, asked) = asked();
    network.agent("b", &["echo"]);
    let before = network.run("c", "y");
    assert_eq!(before.agent, agent("b"));
    give(&mut network, &asked, "y");
    // It is started where it is the next one's turn.
    assert!(network.waits(token));
    assert_eq!(network.placed(), agent("b"));
    assert_eq!(network.record(token).id, asked.id);
    assert_eq!(network.holders("y"), 1);
}
