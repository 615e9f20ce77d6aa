//! What a coordinator that was just started may believe.

use super::*;

/// The same registration by an agent whose lease ended, or whose containers
/// nobody named yet.
fn in_doubt(name: &str, containers: Vec<Activation>) -> Call {
    let Call::Register(mut sent) = registration(name, &["echo"], containers) else { panic!() };
    sent.doubtful = std::mem::take(&mut sent.containers);
    Call::Register(sent)
}

impl Network {
    fn register_in_doubt(&mut self, name: &str, containers: Vec<Activation>) -> Registered {
        let token = self.ask(name, in_doubt(name, containers));
        match self.answer(token) {
            Ok(Reply::Registered(registered)) => registered.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn reclaim_at(&mut self, name: &str, uuid: &str, term: u64, counter: u64) -> Token {
        let epoch = Epoch { term, counter };
        self.ask(name, Call::Reclaim { id: echo(uuid), epoch, options: GetOptions::default() })
    }
}

#[test]
fn what_a_fenced_agent_brings_waits_until_everybody_had_time_to_come_back() {
    let mut network = Network::young();
    network.join("a");
    network.join("c");
    network.advance(SECOND);
    let claimed = network.reclaim_at("c", "x", 3, 5);
    let registered = network.register_in_doubt("a", vec![activation("x", 3, 5)]);
    assert_eq!((registered.terminate, registered.doubt_ms), (vec![], 2000));
    assert!(network.waits(claimed));
    network.advance(2 * SECOND);
    assert_eq!(network.record(claimed).epoch, Epoch { term: 3, counter: 5 });
    let confirmed = network.register_in_doubt("a", vec![activation("x", 3, 5)]);
    assert_eq!((confirmed.terminate, confirmed.doubt_ms), (vec![], 0));
    assert_eq!((network.holders("x"), network.asked.len()), (1, 0));
}

#[test]
fn for_whom_a_container_works_says_its_agent_and_not_who_asked_for_it_meanwhile() {
    let mut network = Network::young();
    network.join("a");
    network.join("c");
    let own = labels(&[("account", "anna")]);
    let other = labels(&[("tenant", "account=eve")]);
    let token = network.get("c", GetOptions { labels: other, ..by_uuid("x") });
    let brought = Activation { labels: own.clone(), ..activation("x", 3, 5) };
    network.register("a", &["echo"], vec![brought]);
    assert_eq!(network.record(token).labels, own);
    network.join("d");
    let found = network.get("d", GetOptions { labels: own, ..GetOptions::default() });
    assert_eq!(network.record(found).id, echo("x"));
}

#[test]
fn a_fenced_agent_ends_what_an_agent_that_comes_back_later_has_in_a_newer_epoch() {
    let mut network = Network::young();
    network.join("a");
    network.join("b");
    network.register_in_doubt("a", vec![activation("x", 3, 5), activation("y", 3, 6)]);
    // Never fenced: it serves.
    assert_eq!(network.register("b", &["echo"], vec![activation("x", 3, 7)]).terminate, []);
    assert_eq!(network.register_in_doubt("b", vec![activation("y", 3, 8)]).terminate, []);
    network.asked.clear();
    network.advance(3 * SECOND);
    let ended: Vec<_> = network.asked.iter().map(|asked| asked.id.clone()).collect();
    assert_eq!(ended, [echo("x")]);
    let brought = vec![activation("x", 3, 5), activation("y", 3, 6)];
    assert_eq!(network.register_in_doubt("a", brought).terminate.len(), 2);
    let agents: BTreeSet<_> = network.list("a").into_iter().map(|c| c.endpoint.agent).collect();
    assert_eq!(agents, [agent("b")].into());
}

#[test]
fn what_a_client_held_in_a_newer_epoch_than_its_agent_brings_starts_anew() {
    let mut network = Network::young();
    network.join("a");
    network.join("c");
    network.register_in_doubt("a", vec![activation("x", 3, 5)]);
    let claimed = network.reclaim_at("c", "x", 3, 9);
    network.advance(3 * SECOND);
    let mut asked = std::mem::take(&mut network.asked);
    asked.sort_by_key(|asked| asked.start);
    assert_eq!((asked[0].epoch, asked[0].force), (Epoch { term: 3, counter: 5 }, true));
    assert!(asked[1].start);
    network.started(&asked[1], Ok(()));
    assert!(network.record(claimed).epoch > Epoch { term: 3, counter: 9 });
}

#[test]
fn a_newer_epoch_that_is_told_late_ends_what_runs_and_starts_it_anew() {
    let mut network = Network::young();
    network.join("a");
    network.join("c");
    network.register("a", &["echo"], vec![activation("x", 3, 5)]);
    network.advance(3 * SECOND);
    let claimed = network.reclaim_at("c", "x", 3, 9);
    let end = network.take_asked();
    assert_eq!((end.epoch, end.force), (Epoch { term: 3, counter: 5 }, true));
    assert!(network.waits(claimed));
    network.terminated(&end, Ok(true));
    network.placed();
    let third = network.record(claimed).epoch;
    assert!(third > Epoch { term: 3, counter: 9 });

    network.advance(2 * SECOND);
    // By its agent, which was away all the time: neither is what was held.
    network.join("b");
    let newer = Activation { epoch: third.next().next(), ..activation("x", 0, 0) };
    assert_eq!(network.register_in_doubt("b", vec![newer]).terminate.len(), 1);
    let end = network.take_asked();
    network.terminated(&end, Ok(true));
    assert!(network.take_asked().epoch > third.next().next());
}

#[test]
fn nobody_gets_what_a_newer_epoch_replaced_though_its_agent_cannot_be_asked_to_end_it() {
    let mut network = Network::young();
    network.join("a");
    network.join("c");
    network.register("a", &["echo"], vec![activation("x", 3, 5)]);
    network.advance(3 * SECOND);
    let claimed = network.reclaim_at("c", "x", 3, 9);
    let end = network.take_asked();
    let away = NetworkError::not_processed(ErrorKind::Unavailable, "reconnecting");
    network.terminated(&end, Err(away));
    assert!(network.waits(claimed), "it held a newer activation");
    network.advance(SECOND);
    let end = network.take_asked();
    assert!(end.force);
    network.terminated(&end, Ok(true));
    network.placed();
    assert!(network.record(claimed).epoch > Epoch { term: 3, counter: 9 });
}

#[test]
fn a_client_cannot_take_epochs_of_the_future_into_use() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    network.run("c", "x");
    let claimed = network.reclaim_at("c", "x", u64::MAX, u64::MAX);
    assert_eq!(network.record(claimed).epoch.term, 7);
    assert_eq!(network.asked, []);
}

#[test]
fn no_agents_lease_is_longer_than_the_recovery_window() {
    let mut network = Network::new();
    let slow =
        Input::ClientJoined { client: client("a"), alive_timeout: 60 * SECOND, resumed: false };
    network.step(slow);
    assert_eq!(network.register("a", &["echo"], vec![]).lease_ms, 3000);
    // It fenced itself after two seconds of silence.
    network.join("c");
    network.advance(2 * SECOND);
    let token = network.get("c", by_uuid("x"));
    assert!(network.waits(token));
    assert_eq!(network.asked, []);
}

#[test]
fn what_ended_with_a_lost_agent_is_not_taken_over_from_an_even_older_one() {
    let mut network = Network::young();
    network.join("a");
    network.join("b");
    network.register_in_doubt("a", vec![activation("x", 3, 9)]);
    network.leave("a");
    assert_eq!(network.register("b", &["echo"], vec![activation("x", 3, 5)]).terminate.len(), 1);
}

#[test]
fn a_start_that_was_given_up_before_a_crash_is_not_taken_for_the_container() {
    let mut network = Network::young();
    network.join("a");
    network.join("b");
    network.join("c");
    // Its start was given up and had happened: nobody was given this epoch.
    let registered = network.register_in_doubt("a", vec![activation("x", 3, 5)]);
    assert_eq!((registered.terminate, registered.doubt_ms), (vec![], 3000));
    let claimed = network.reclaim_at("c", "x", 3, 6);
    assert!(network.waits(claimed));
    assert_eq!(network.register("b", &["echo"], vec![activation("x", 3, 6)]).terminate, []);
    let record = network.record(claimed);
    assert_eq!((record.epoch.counter, record.endpoint.agent.clone()), (6, agent("b")));
    network.advance(3 * SECOND);
    let end = network.take_asked();
    assert_eq!((end.agent, end.epoch.counter, end.force), (agent("a"), 5, true));
    assert_eq!(network.list("c").len(), 1);
}
