use super::*;

const SERVER: &str = "server";

type Peer = Session<(), u64>;

fn peer() -> Peer {
    Session::new(Text::new(SERVER))
}

fn message(operation: Operation, id: &str, body: &str) -> Message {
    Message::new(operation, Text::new(id), body.to_owned())
}

fn receive(peer: &mut Peer, operation: Operation, id: &str, body: &str) -> Vec<Turn<u64>> {
    let mut turns = Vec::new();
    peer.receive(message(operation, id, body), &mut turns);
    turns
}

/// Says hello and gives what the peer hears.
fn greet(peer: &mut Peer, greeted: Greeted) -> Vec<Message> {
    let turns = receive(peer, Operation::Hello, "ann", "{\"aliveTimeout\":3}");
    assert!(matches!(turns.last(), Some(Turn::Greet(_))), "{turns:?}");
    hears(peer, greeted, false)
}

fn hears(peer: &mut Peer, greeted: Greeted, revived: bool) -> Vec<Message> {
    let mut turns = Vec::new();
    peer.greeted(greeted, revived, &mut turns);
    sent(turns)
}

fn sent(turns: Vec<Turn<u64>>) -> Vec<Message> {
    turns
        .into_iter()
        .filter_map(|turn| match turn {
            Turn::Send(message) => Some(message),
            _ => None,
        })
        .collect()
}

fn request(peer: &mut Peer, id: &str) -> Option<Ticket> {
    let turns = receive(peer, Operation::Request, id, "[]");
    turns.into_iter().find_map(|turn| match turn {
        Turn::Request(ticket, _) => Some(ticket),
        _ => None,
    })
}

fn hello() -> Message {
    message(Operation::Hello, SERVER, "")
}

fn ask_hello() -> Message {
    message(Operation::AskHello, SERVER, "")
}

#[test]
fn a_stranger_is_sent_away_with_its_request_and_asked_for_hello_once() {
    let mut peer = peer();
    let away = |id| message(Operation::Retry, id, "1");
    let turns = receive(&mut peer, Operation::Request, "1", "[]");
    assert_eq!(sent(turns), [away("1"), ask_hello()]);
    assert_eq!(sent(receive(&mut peer, Operation::Request, "2", "[]")), [away("2")]);
    assert_eq!(greet(&mut peer, Greeted::Welcome), [hello()]);
    assert!(request(&mut peer, "1").is_some());
}

#[test]
fn a_pong_comes_before_the_question_for_hello() {
    let mut peer = peer();
    let pong = message(Operation::Pong, SERVER, "");
    let turns = receive(&mut peer, Operation::Ping, "", "");
    assert_eq!(sent(turns), [pong.clone(), ask_hello()]);
    greet(&mut peer, Greeted::Welcome);
    let turns = receive(&mut peer, Operation::Ping, "", "");
    assert_eq!(turns, [Turn::Send(pong), Turn::Alive]);
}

#[test]
fn the_alive_timeout_has_a_default_and_follows_the_last_hello() {
    let mut peer = peer();
    for (body, seconds) in [
        ("not json", 3.0),
        ("{}", 3.0),
        ("{\"aliveTimeout\":-1}", 3.0),
        ("{\"aliveTimeout\":1e300}", 3.0),
        ("{\"aliveTimeout\":0.5,\"x\":1}", 0.5),
        ("{\"aliveTimeout\":10}", 10.0),
    ] {
        let turns = receive(&mut peer, Operation::Hello, "ann", body);
        let greeting = Greeting {
            client: ClientId::new("ann").unwrap(),
            alive_timeout: Duration::from_secs_f64(seconds),
        };
        assert_eq!(turns, [Turn::Greet(greeting)], "{body}");
    }
}

#[test]
fn a_duplicate_in_progress_is_ignored_and_one_after_the_answer_is_new() {
    let mut peer = peer();
    greet(&mut peer, Greeted::Welcome);
    let ticket = request(&mut peer, "1").unwrap();
    assert!(request(&mut peer, "1").is_none());
    let answer = peer.answer(&ticket, Ok(Bytes::from_static(b"7"))).unwrap();
    assert_eq!(answer, message(Operation::Response, "1", "7"));
    assert_eq!(peer.answer(&ticket, Ok(Bytes::new())), None);
    let again = request(&mut peer, "1").unwrap();
    assert_eq!(peer.answer(&ticket, Ok(Bytes::new())), None);
    let failed = peer.answer(&again, Err(Bytes::from_static(b"{}"))).unwrap();
    assert_eq!(failed, message(Operation::Error, "1", "{}"));
}

#[test]
fn the_twenty_seventh_request_is_sent_away_until_another_is_answered() {
    let mut peer = peer();
    greet(&mut peer, Greeted::Welcome);
    let tickets: Vec<_> = (0..26).map(|n| request(&mut peer, &n.to_string()).unwrap()).collect();
    let turns = receive(&mut peer, Operation::Request, "26", "[]");
    assert_eq!(turns, [Turn::Send(message(Operation::Retry, "26", "26"))]);
    peer.answer(&tickets[3], Ok(Bytes::new())).unwrap();
    assert!(request(&mut peer, "26").is_some());
}

#[test]
fn a_request_revives_a_silent_peer_and_asks_it_for_hello() {
    let mut peer = peer();
    greet(&mut peer, Greeted::Welcome);
    peer.left();
    let turns = receive(&mut peer, Operation::Request, "1", "[]");
    assert!(matches!(&turns[..], [Turn::Greet(_), Turn::Request(..)]), "{turns:?}");
    assert_eq!(hears(&mut peer, Greeted::Welcome, true), [ask_hello()]);
    assert_eq!(greet(&mut peer, Greeted::Welcome), [hello()]);
}

#[test]
fn a_goodbye_is_not_revived() {
    let mut peer = peer();
    greet(&mut peer, Greeted::Welcome);
    assert_eq!(receive(&mut peer, Operation::Close, "", ""), [Turn::Leave]);
    peer.left();
    let away = message(Operation::Retry, "1", "1");
    assert_eq!(sent(receive(&mut peer, Operation::Request, "1", "[]")), [away, ask_hello()]);
}

#[test]
fn who_returns_is_welcomed_and_asked_for_hello_and_gets_what_was_kept() {
    let (mut former, mut peer) = (peer(), peer());
    greet(&mut former, Greeted::Welcome);
    let (kept, working) = (request(&mut former, "1").unwrap(), request(&mut former, "2").unwrap());
    let answer = former.answer(&kept, Ok(Bytes::from_static(b"7"))).unwrap();
    former.keep(answer.clone());
    peer.take_over(former);
    assert_eq!(greet(&mut peer, Greeted::Returned), [hello(), answer, ask_hello()]);
    assert_eq!(greet(&mut peer, Greeted::Welcome), [hello()]);
    let answer = peer.answer(&working, Ok(Bytes::from_static(b"8"))).unwrap();
    assert_eq!(answer, message(Operation::Response, "2", "8"));
    // Asked for hello, the peer sends again what it waits for: once.
    assert!(request(&mut peer, "2").is_none());
    assert!(request(&mut peer, "2").is_some());
}

#[test]
fn another_client_on_the_same_connection_ends_the_first_ones_session() {
    let mut peer = peer();
    greet(&mut peer, Greeted::Welcome);
    let turns = receive(&mut peer, Operation::Hello, "bob", "");
    assert!(matches!(&turns[..], [Turn::Leave, Turn::Greet(bob)] if bob.client.as_str() == "bob"));
}

#[test]
fn answers_reach_who_asked_and_stale_ones_nobody() {
    let mut peer = peer();
    greet(&mut peer, Greeted::Welcome);
    let asked = peer.ask(5, Bytes::from_static(b"[]"), 50);
    assert_eq!(asked, message(Operation::Request, "server-5", "[]"));
    for stale in ["former-5", "5", "server", "server-", "server-6", "server-x"] {
        assert_eq!(receive(&mut peer, Operation::Response, stale, "1"), [], "{stale}");
    }
    let answer = Turn::Answer(50, Ok(Bytes::from_static(b"1")));
    assert_eq!(receive(&mut peer, Operation::Response, "server-5", "1"), [answer]);
    assert_eq!(receive(&mut peer, Operation::Response, "server-5", "1"), []);
    peer.ask(6, Bytes::new(), 60);
    let answer = Turn::Answer(60, Err(Bytes::from_static(b"{}")));
    assert_eq!(receive(&mut peer, Operation::Error, "server-6", "{}"), [answer]);
    peer.ask(7, Bytes::new(), 70);
    assert_eq!(peer.unanswered().collect::<Vec<_>>(), [70]);
}

#[test]
fn what_only_servers_send_is_ignored() {
    let mut peer = peer();
    for operation in [Operation::Pong, Operation::Retry, Operation::AskHello] {
        assert_eq!(receive(&mut peer, operation, "x", ""), [Turn::Ignore]);
    }
    assert_eq!(receive(&mut peer, Operation::Event, "", "{}"), []);
    assert_eq!(receive(&mut peer, Operation::Hello, "", "{}"), [Turn::Ignore]);
}

#[test]
fn a_request_that_is_put_off_may_come_again() {
    let mut peer = peer();
    greet(&mut peer, Greeted::Welcome);
    let ticket = request(&mut peer, "1").unwrap();
    assert_eq!(peer.put_off(&ticket, 2), Some(message(Operation::Retry, "1", "2")));
    assert_eq!(peer.put_off(&ticket, 2), None);
    assert!(request(&mut peer, "1").is_some());
}

#[test]
fn answers_wait_for_the_next_connection_up_to_a_size() {
    let mut peer = peer();
    greet(&mut peer, Greeted::Welcome);
    let half = Bytes::from(vec![b' '; UNSENT_BYTES / 2]);
    for id in ["1", "2", "3"] {
        let ticket = request(&mut peer, id).unwrap();
        let answer = peer.answer(&ticket, Ok(half.clone())).unwrap();
        peer.keep(answer);
    }
    let heard = greet(&mut peer, Greeted::Returned);
    let heard: Vec<&str> = heard.iter().map(|message| message.id.as_str()).collect();
    assert_eq!(heard, [SERVER, "1", "2", SERVER]);
    // What was not kept runs once more when the peer asks again.
    assert!(request(&mut peer, "3").is_some());
}

#[test]
fn a_peer_that_missed_something_is_asked_for_hello_once() {
    let mut peer = peer();
    greet(&mut peer, Greeted::Welcome);
    let mut turns = Vec::new();
    peer.missed(&mut turns);
    peer.missed(&mut turns);
    assert_eq!(sent(turns), [ask_hello()]);
    assert_eq!(greet(&mut peer, Greeted::Welcome), [hello()]);
}
