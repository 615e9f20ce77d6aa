use std::time::Duration;

use hulynet_protocol::{ClientId, ConnectionId, Kind, Labels, Retry};

use super::*;

fn id(uuid: &str) -> ContainerId {
    ContainerId { kind: Kind::new("echo").unwrap(), uuid: Uuid::new(uuid).unwrap() }
}

fn epoch(counter: u64) -> Epoch {
    Epoch { term: 5, counter }
}

fn target(uuid: &str, epoch: Option<Epoch>) -> Target {
    Target { id: id(uuid), epoch }
}

/// A table with the container `a` at epoch 5.3, reached as 1.
fn table() -> Table<u32> {
    let mut table = Table::new(2);
    table.insert(Activation { id: id("a"), epoch: epoch(3), labels: Labels::new() }, 1);
    table
}

fn connection(name: &str) -> ConnectionId {
    ConnectionId::new(name).unwrap()
}

fn peer(name: &str) -> ClientId {
    ClientId::new(name).unwrap()
}

#[test]
fn a_call_reaches_the_live_activation() {
    let table = table();
    let live = Located { container: 1, epoch: epoch(3) };
    assert_eq!(table.locate(Instant::now(), &target("a", None)).unwrap(), live);
    assert_eq!(table.locate(Instant::now(), &target("a", Some(epoch(3)))).unwrap(), live);
}

#[test]
fn a_call_that_names_another_activation_is_refused_unprocessed() {
    for other in [epoch(2), epoch(4)] {
        let error = table().locate(Instant::now(), &target("a", Some(other))).unwrap_err();
        assert_eq!(error.kind, ErrorKind::StaleEpoch);
        assert_eq!(error.retry, Retry::NotProcessed);
    }
}

#[test]
fn an_unknown_container_is_named() {
    let error = table().locate(Instant::now(), &target("b", None)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::UnknownContainer);
    assert!(error.message.contains("echo/b"));
    let other_kind = ContainerId { kind: Kind::new("other").unwrap(), uuid: id("a").uuid };
    let error =
        table().locate(Instant::now(), &Target { id: other_kind, epoch: None }).unwrap_err();
    assert_eq!(error.kind, ErrorKind::UnknownContainer);
}

#[test]
fn an_order_to_start_that_comes_twice_starts_once() {
    assert_eq!(table().decide(Instant::now(), &id("a"), epoch(3)).unwrap(), Decision::Running(1));
}

#[test]
fn a_higher_epoch_replaces_and_a_lower_one_is_stale() {
    assert_eq!(table().decide(Instant::now(), &id("a"), epoch(4)).unwrap(), Decision::Replace(1));
    assert_eq!(
        table().decide(Instant::now(), &id("a"), epoch(2)).unwrap_err().kind,
        ErrorKind::StaleEpoch
    );
}

#[test]
fn a_coordinator_of_an_earlier_term_is_not_obeyed() {
    let late = Epoch { term: 4, counter: 99 };
    assert_eq!(
        table().decide(Instant::now(), &id("new"), late).unwrap_err().kind,
        ErrorKind::StaleEpoch
    );
    assert_eq!(table().decide(Instant::now(), &id("new"), epoch(1)).unwrap(), Decision::Start);
}

#[test]
fn a_full_agent_refuses_new_containers() {
    let mut table = table();
    table.insert(Activation { id: id("b"), epoch: epoch(4), labels: Labels::new() }, 2);
    assert_eq!(table.decide(Instant::now(), &id("c"), epoch(5)).unwrap_err().kind, ErrorKind::Busy);
}

#[test]
fn the_end_of_an_older_activation_does_not_remove_the_newer_one() {
    let mut table = table();
    assert!(!table.remove(&id("a"), epoch(2)));
    assert!(table.locate(Instant::now(), &target("a", None)).is_ok());
    assert!(table.remove(&id("a"), epoch(3)));
    assert!(table.locate(Instant::now(), &target("a", None)).is_err());
}

#[test]
fn an_agent_whose_lease_is_over_serves_and_starts_nothing() {
    let mut table = table();
    table.serve_until(Some(Instant::now()));
    assert_eq!(
        table.locate(Instant::now(), &target("a", None)).unwrap_err().kind,
        ErrorKind::Unavailable
    );
    assert_eq!(
        table.decide(Instant::now(), &id("b"), epoch(9)).unwrap_err().kind,
        ErrorKind::Unavailable
    );
    assert_eq!(table.find(&target("a", Some(epoch(3)))), Some(1));
    table.serve_until(Some(Instant::now() + Duration::from_secs(60)));
    assert!(table.locate(Instant::now(), &target("a", None)).is_ok());
}

#[test]
fn a_process_that_was_stopped_serves_nothing_when_it_goes_on_after_its_lease() {
    let mut table = table();
    let registered = Instant::now();
    table.serve_until(Some(registered + Duration::from_secs(2)));
    let before = registered + Duration::from_millis(1999);
    assert!(table.locate(before, &target("a", None)).is_ok());
    // No timer fired in between.
    let continued = registered + Duration::from_secs(2);
    let error = table.locate(continued, &target("a", None)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert_eq!(error.retry, Retry::NotProcessed);
}

#[test]
fn what_lives_elsewhere_is_not_served_while_it_ends() {
    let mut table = table();
    assert!(table.retire(&[(id("a"), epoch(2)), (id("b"), epoch(3))]).is_empty());
    assert!(table.locate(Instant::now(), &target("a", None)).is_ok());
    assert_eq!(table.retire(&[(id("a"), epoch(3))]), [1]);
    let error = table.locate(Instant::now(), &target("a", None)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::UnknownContainer);
    assert_eq!(table.bring(false), Brought::default());
    assert_eq!(table.find(&target("a", Some(epoch(3)))), Some(1));
}

#[test]
fn nobody_ends_the_connection_of_another_client() {
    let mut table = table();
    table.attach(connection("c"), id("a").uuid, peer("p")).unwrap();
    let error = table.attach(connection("c"), id("a").uuid, peer("q")).unwrap_err();
    assert_eq!(error.retry, Retry::NotProcessed);
    assert_eq!(table.detach(&connection("c"), &peer("q")), None);
    assert_eq!(table.detach(&connection("c"), &peer("p")), Some(1));
    assert_eq!(table.detach(&connection("c"), &peer("p")), None);
}

#[test]
fn a_client_that_is_gone_loses_all_its_connections() {
    let mut table = table();
    table.attach(connection("c"), id("a").uuid, peer("p")).unwrap();
    table.attach(connection("d"), id("a").uuid, peer("p")).unwrap();
    table.attach(connection("e"), id("a").uuid, peer("q")).unwrap();
    assert_eq!(table.detach_all(&peer("p")), [(connection("c"), 1), (connection("d"), 1)]);
    assert_eq!(table.detach_all(&peer("p")), []);
}

#[test]
fn a_closed_agent_stays_closed() {
    let mut table = table();
    table.close();
    table.serve_until(Some(Instant::now() + Duration::from_secs(60)));
    assert_eq!(
        table.locate(Instant::now(), &target("a", None)).unwrap_err().message,
        "the agent is shutting down"
    );
}

#[test]
fn an_order_to_end_an_older_activation_does_not_find_the_newer_one() {
    assert_eq!(table().find(&target("a", Some(epoch(2)))), None);
    assert_eq!(table().find(&target("a", None)), Some(1));
}

#[test]
fn a_full_or_closing_agent_takes_nothing_more_and_says_so() {
    let mut table = Table::new(2);
    assert_eq!(table.load(), Load::default());
    for (uuid, used, intake) in [("a", 500_000, Intake::Open), ("b", 1_000_000, Intake::Full)] {
        let id = ContainerId { kind: Kind::new("echo").unwrap(), uuid: Uuid::new(uuid).unwrap() };
        table.insert(Activation { id, epoch: Epoch::default(), labels: Labels::new() }, 0);
        assert_eq!(table.load(), Load { used, intake });
    }
    table.close();
    assert_eq!(table.load().intake, Intake::Draining);
}

#[test]
fn an_answer_that_was_worked_out_while_the_lease_ended_is_not_given() {
    let mut table = table();
    let now = Instant::now();
    table.serve_until(Some(now + Duration::from_secs(2)));
    assert!(table.locate(now, &target("a", None)).is_ok());
    assert_eq!(table.confirm(now, &id("a"), epoch(3)), Ok(()));
    // The process was stopped meanwhile.
    let error = table.confirm(now + Duration::from_secs(60), &id("a"), epoch(3)).unwrap_err();
    assert_eq!((error.kind, error.retry), (ErrorKind::Unavailable, Retry::MaybeProcessed));
    // A shutdown lets its answers leave.
    table.close();
    assert_eq!(table.confirm(now, &id("a"), epoch(3)), Ok(()));
}

#[test]
fn containers_in_doubt_neither_take_requests_nor_answer_until_they_are_confirmed() {
    let mut table = table();
    let now = Instant::now();
    table.doubt(true);
    let error = table.locate(now, &target("a", Some(epoch(3)))).unwrap_err();
    assert_eq!((error.kind, error.retry), (ErrorKind::Unavailable, Retry::NotProcessed));
    let error = table.confirm(now, &id("a"), epoch(3)).unwrap_err();
    assert_eq!((error.kind, error.retry), (ErrorKind::Unavailable, Retry::MaybeProcessed));
    assert_eq!(table.bring(true).doubtful.len(), 1);
    // What the coordinator starts meanwhile is nobody else's.
    table.insert(Activation { id: id("b"), epoch: epoch(4), labels: Labels::new() }, 2);
    assert!(table.locate(now, &target("b", Some(epoch(4)))).is_ok());
    table.doubt(false);
    assert!(table.locate(now, &target("a", Some(epoch(3)))).is_ok());
    assert_eq!(table.confirm(now, &id("a"), epoch(3)), Ok(()));
}

#[test]
fn a_client_that_connects_again_gets_its_connection_anew() {
    let mut table = table();
    assert!(!table.attach(connection("c"), id("a").uuid, peer("p")).unwrap().again);
    assert!(table.attach(connection("c"), id("a").uuid, peer("p")).unwrap().again);
    assert!(table.attach(connection("c"), id("b").uuid, peer("p")).is_err());
}

#[test]
fn an_attempt_that_fails_late_does_not_end_the_one_after_it() {
    let mut table = table();
    let first = table.attach(connection("c"), id("a").uuid, peer("p")).unwrap();
    let second = table.attach(connection("c"), id("a").uuid, peer("p")).unwrap();
    assert!(!table.attach_failed(&connection("c"), first.attempt));
    assert!(table.is_attached(&connection("c"), &peer("p")));
    assert!(table.attach_failed(&connection("c"), second.attempt));
    assert!(!table.is_attached(&connection("c"), &peer("p")));
}

#[test]
fn what_a_container_has_of_a_client_that_left_meanwhile_is_to_end() {
    let mut table = table();
    let begun = table.attach(connection("c"), id("a").uuid, peer("p")).unwrap();
    table.detach_all(&peer("p"));
    assert!(table.attach_failed(&connection("c"), begun.attempt));
}

#[test]
fn events_of_what_may_live_elsewhere_wait_until_it_is_certain() {
    let mut table = table();
    let now = Instant::now();
    let may = |table: &Table<u32>, now| table.release(now, &id("a"), epoch(3)).map_err(|e| e.kind);
    table.serve_until(Some(now + Duration::from_secs(2)));
    assert_eq!(may(&table, now), Ok(()));
    assert_eq!(may(&table, now + Duration::from_secs(2)), Err(ErrorKind::Busy));
    table.doubt(true);
    assert_eq!(may(&table, now), Err(ErrorKind::Busy));
    table.doubt(false);
    assert_eq!(may(&table, now), Ok(()));
    table.retire(&[(id("a"), epoch(3))]);
    assert_eq!(may(&table, now), Err(ErrorKind::Busy));
    assert!(table.confirm(now, &id("a"), epoch(3)).is_err(), "nor is an answer given out");
}

#[test]
fn a_draining_agent_takes_nothing_new_and_goes_on_with_what_it_runs() {
    let now = Instant::now();
    let mut table = table();
    table.drain(true);
    assert_eq!(table.load().intake, Intake::Draining);
    let error = table.decide(now, &id("b"), epoch(4)).unwrap_err();
    assert_eq!((error.kind, error.retry), (ErrorKind::Busy, Retry::NotProcessed));
    assert!(error.message.contains("draining"), "{error}");
    assert_eq!(table.locate(now, &target("a", None)).unwrap().container, 1);
    assert_eq!(table.decide(now, &id("a"), epoch(3)), Ok(Decision::Running(1)), "an order again");
    table.drain(false);
    assert_eq!(table.load().intake, Intake::Open);
    assert_eq!(table.decide(now, &id("b"), epoch(4)), Ok(Decision::Start));
}

/// The counters of the epochs that a registration brings: the certain ones, and
/// those in doubt.
fn brought(table: &mut Table<u32>, in_doubt: bool) -> (Vec<u64>, Vec<u64>) {
    let counters = |list: Vec<Activation>| list.iter().map(|a| a.epoch.counter).collect();
    let Brought { certain, doubtful } = table.bring(in_doubt);
    (counters(certain), counters(doubtful))
}

#[test]
fn what_nobody_named_is_brought_in_doubt_though_it_is_served() {
    let (mut table, now) = (table(), Instant::now());
    table.reach(now, &target("a", None)).unwrap();
    table.reach(now, &target("a", Some(epoch(2)))).unwrap_err();
    assert_eq!(brought(&mut table, false), (vec![], vec![3]));
    table.reach(now, &target("a", Some(epoch(3)))).unwrap();
    assert_eq!(brought(&mut table, false), (vec![3], vec![]));
    // A lease that ended is doubt enough.
    assert_eq!(brought(&mut table, true), (vec![], vec![3]));
    assert_eq!(brought(&mut table, false), (vec![3], vec![]));
}

#[test]
fn what_a_coordinator_confirmed_is_certain_and_what_it_was_not_told_of_is_not() {
    let mut table = table();
    assert_eq!(brought(&mut table, false), (vec![], vec![3]));
    // Begun after the registration was sent, and before its answer came.
    table.insert(Activation { id: id("b"), epoch: epoch(4), labels: Labels::new() }, 2);
    table.settle();
    assert_eq!(brought(&mut table, false), (vec![3], vec![4]));
    // The next activation is another one.
    table.insert(Activation { id: id("a"), epoch: epoch(5), labels: Labels::new() }, 3);
    assert_eq!(brought(&mut table, false), (vec![], vec![5, 4]));
}

#[test]
fn connections_end_with_their_container_or_their_client_and_nothing_is_kept_of_them() {
    let mut table = table();
    table.insert(Activation { id: id("b"), epoch: epoch(4), labels: Labels::new() }, 2);
    let uuid = |name| Uuid::new(name).unwrap();
    for (name, to, whose) in [("1", "a", "p"), ("2", "a", "q"), ("3", "b", "p"), ("4", "b", "q")] {
        table.attach(connection(name), uuid(to), peer(whose)).unwrap();
    }
    assert!(table.remove(&id("a"), epoch(3)));
    assert_eq!(table.attached(&uuid("a")).count(), 0);
    assert_eq!(table.detach_all(&peer("p")), [(connection("3"), 2)]);
    let left: Vec<_> = table.attached(&uuid("b")).collect();
    assert_eq!(left, [(&connection("4"), &peer("q"))]);
    assert_eq!(table.detach(&connection("4"), &peer("q")), Some(2));
    assert_eq!(table.connections, Connections::default());
}
