use hulynet_protocol::{AgentId, ContainerState, Endpoint, Kind, Labels, Uuid};

use super::*;

fn id(uuid: &str) -> ContainerId {
    ContainerId { kind: Kind::new("k").unwrap(), uuid: Uuid::new(uuid).unwrap() }
}

fn record(uuid: &str, counter: u64, address: &str) -> ContainerRecord {
    ContainerRecord {
        id: id(uuid),
        endpoint: Endpoint {
            agent: AgentId::new(address).unwrap(),
            address: Some(address.to_owned()),
        },
        epoch: Epoch { term: 1, counter },
        state: ContainerState::Running,
        labels: Labels::from([("l".to_owned(), uuid.to_owned())]),
        holders: 1,
    }
}

fn error() -> NetworkError {
    NetworkError::not_processed(ErrorKind::UnknownKind, "no agent")
}

fn actions(table: &mut References) -> Vec<Action> {
    std::iter::from_fn(|| table.poll_action()).collect()
}

fn get(table: &mut References, uuid: &str) {
    let ticket = table.begin_get();
    let options = GetOptions { extra: b"extra".to_vec(), ..GetOptions::default() };
    table.got(ticket, record(uuid, 1, "host:1"), &options);
}

/// A table with one handle of `a`.
fn held() -> References {
    let mut table = References::new();
    get(&mut table, "a");
    assert_eq!(actions(&mut table), []);
    table
}

/// Of the activation that [`get`] brought.
fn reclaim(uuid: &str) -> Action {
    reclaim_after(uuid, 1)
}

fn reclaim_after(uuid: &str, counter: u64) -> Action {
    let options = GetOptions {
        uuid: Some(Uuid::new(uuid).unwrap()),
        labels: Labels::from([("l".to_owned(), uuid.to_owned())]),
        extra: b"extra".to_vec(),
        ..GetOptions::default()
    };
    Action::Reclaim { id: id(uuid), epoch: record(uuid, counter, "host:1").epoch, options }
}

fn release(uuid: &str) -> Action {
    Action::Release(id(uuid))
}

fn unused() -> Action {
    Action::Unused("host:1".to_owned())
}

#[test]
fn only_the_last_handle_releases_a_container() {
    let mut table = held();
    get(&mut table, "a");
    table.add_handle(&id("a"));
    table.drop_handle(&id("a"));
    table.drop_handle(&id("a"));
    assert_eq!(actions(&mut table), []);
    table.drop_handle(&id("a"));
    assert_eq!(actions(&mut table), [release("a")]);
    table.released(&id("a"));
    assert_eq!(actions(&mut table), [unused()]);
    assert_eq!(table.record(&id("a")), None);
}

#[test]
fn a_coordinator_that_forgot_the_client_gets_one_reclaim_per_container() {
    let mut table = held();
    get(&mut table, "a");
    get(&mut table, "b");
    table.joined(true);
    assert_eq!(actions(&mut table), []);
    table.joined(false);
    assert_eq!(actions(&mut table), [reclaim("a"), reclaim("b")]);
}

#[test]
fn a_coordinator_that_forgets_the_client_during_a_reclaim_gets_another_one() {
    let mut table = held();
    table.joined(false);
    table.joined(false);
    assert_eq!(actions(&mut table), [reclaim("a")]);
    table.reclaimed(Instant::now(), &id("a"), Ok(record("a", 1, "host:1")));
    assert_eq!(actions(&mut table), [reclaim("a")]);
    table.reclaimed(Instant::now(), &id("a"), Ok(record("a", 1, "host:1")));
    assert_eq!(actions(&mut table), []);
}

#[test]
fn a_release_waits_for_the_reclaim_before_it() {
    let mut table = held();
    table.joined(false);
    table.drop_handle(&id("a"));
    assert_eq!(actions(&mut table), [reclaim("a")]);
    table.reclaimed(Instant::now(), &id("a"), Ok(record("a", 1, "host:1")));
    assert_eq!(actions(&mut table), [release("a")]);
}

#[test]
fn a_container_that_is_got_during_its_release_is_reclaimed() {
    let mut table = held();
    table.drop_handle(&id("a"));
    assert_eq!(actions(&mut table), [release("a")]);
    get(&mut table, "a");
    assert_eq!(actions(&mut table), []);
    table.released(&id("a"));
    assert_eq!(actions(&mut table), [reclaim("a")]);
}

#[test]
fn a_get_that_a_release_may_have_undone_is_confirmed() {
    let mut table = held();
    let ticket = table.begin_get();
    table.drop_handle(&id("a"));
    table.released(&id("a"));
    assert_eq!(actions(&mut table), [release("a"), unused()]);
    table.got(ticket, record("a", 1, "host:1"), &GetOptions::default());
    assert!(matches!(&actions(&mut table)[..], [Action::Reclaim { .. }]));
}

#[test]
fn a_release_before_a_get_does_not_trouble_it() {
    let mut table = held();
    let other = table.begin_get();
    table.drop_handle(&id("a"));
    table.released(&id("a"));
    actions(&mut table);
    let ticket = table.begin_get();
    table.get_failed(other);
    table.got(ticket, record("a", 1, "host:1"), &GetOptions::default());
    assert_eq!(actions(&mut table), []);
}

#[test]
fn concurrent_questions_for_a_lost_container_share_one_reclaim() {
    let mut table = held();
    let tried = Epoch { term: 1, counter: 1 };
    table.locate(&id("a"), tried, 7);
    table.locate(&id("a"), tried, 8);
    assert_eq!(actions(&mut table), [reclaim("a")]);
    let moved = record("a", 2, "host:2");
    table.reclaimed(Instant::now(), &id("a"), Ok(moved.clone()));
    let expected = [
        unused(),
        Action::Moved(moved.clone()),
        Action::Located { token: 7, result: Ok(moved.clone()) },
        Action::Located { token: 8, result: Ok(moved) },
    ];
    assert_eq!(actions(&mut table), expected);
}

#[test]
fn a_question_about_an_older_activation_is_answered_at_once() {
    let mut table = held();
    table.locate(&id("a"), Epoch { term: 0, counter: 9 }, 7);
    let result = Ok(record("a", 1, "host:1"));
    assert_eq!(actions(&mut table), [Action::Located { token: 7, result }]);
}

#[test]
fn a_question_about_what_is_not_held_is_refused() {
    let mut table = References::new();
    table.locate(&id("a"), Epoch::default(), 7);
    let [Action::Located { result: Err(error), .. }] = &actions(&mut table)[..] else { panic!() };
    assert_eq!(error.kind, ErrorKind::UnknownContainer);
}

#[test]
fn a_failed_reclaim_is_told_and_tried_again_after_a_pause() {
    let mut table = held();
    let now = Instant::now();
    table.locate(&id("a"), Epoch { term: 1, counter: 1 }, 7);
    actions(&mut table);
    table.reclaimed(now, &id("a"), Err(error()));
    assert_eq!(actions(&mut table), [Action::Located { token: 7, result: Err(error()) }]);
    let due = table.next_timeout().unwrap();
    assert!(due > now);
    table.handle_timeout(now);
    assert_eq!(actions(&mut table), []);
    table.handle_timeout(due);
    assert_eq!(actions(&mut table), [reclaim("a")]);
    assert_eq!(table.next_timeout(), None);
}

#[test]
fn a_container_that_nobody_wants_any_more_is_not_reclaimed() {
    let mut table = held();
    table.joined(false);
    table.reclaimed(Instant::now(), &id("a"), Err(error()));
    actions(&mut table);
    table.drop_handle(&id("a"));
    assert_eq!(actions(&mut table), [release("a")]);
    assert_eq!(table.next_timeout(), None);
}

#[test]
fn news_are_believed_unless_they_are_old() {
    let mut table = held();
    table.observe(&Change::ContainerUpdated(record("a", 3, "host:2")));
    assert_eq!(table.record(&id("a")).unwrap().epoch.counter, 3);
    actions(&mut table);
    table.observe(&Change::ContainerUpdated(record("a", 2, "host:3")));
    table.observe(&Change::ContainerAdded(record("b", 9, "host:3")));
    assert_eq!(table.record(&id("a")).unwrap().epoch.counter, 3);
    assert_eq!(table.record(&id("b")), None);
    assert_eq!(actions(&mut table), []);
}

#[test]
fn an_address_is_left_with_the_last_container_that_lives_there() {
    let mut table = held();
    get(&mut table, "b");
    table.observe(&Change::ContainerUpdated(record("a", 2, "host:2")));
    assert_eq!(
        actions(&mut table),
        [Action::Moved(record("a", 2, "host:2")), reclaim_after("a", 2)]
    );
    table.observe(&Change::ContainerUpdated(record("b", 2, "host:2")));
    let moved = Action::Moved(record("b", 2, "host:2"));
    assert_eq!(actions(&mut table), [unused(), moved, reclaim_after("b", 2)]);
}

#[test]
fn an_explicit_release_is_answered_when_the_container_is_released() {
    let mut table = held();
    get(&mut table, "a");
    table.release(&id("a"), 1);
    assert_eq!(actions(&mut table), [Action::Released { token: 1 }]);
    table.release(&id("a"), 2);
    assert_eq!(actions(&mut table), [release("a")]);
    table.released(&id("a"));
    assert_eq!(actions(&mut table), [Action::Released { token: 2 }, unused()]);
}

#[test]
fn an_explicit_release_ends_when_somebody_else_gets_the_container_first() {
    let mut table = held();
    table.joined(false);
    table.release(&id("a"), 1);
    assert_eq!(actions(&mut table), [reclaim("a")]);
    get(&mut table, "a");
    assert_eq!(actions(&mut table), [Action::Released { token: 1 }]);
    table.reclaimed(Instant::now(), &id("a"), Ok(record("a", 1, "host:1")));
    assert_eq!(actions(&mut table), []);
}

#[test]
fn who_asks_where_a_released_container_lives_is_answered() {
    let mut table = held();
    table.drop_handle(&id("a"));
    table.locate(&id("a"), Epoch { term: 1, counter: 1 }, 7);
    assert_eq!(actions(&mut table), [release("a")]);
    table.released(&id("a"));
    let answers = actions(&mut table);
    assert!(
        answers.iter().any(|action| matches!(
            action,
            Action::Located { token: 7, result: Err(error) }
                if error.kind == ErrorKind::UnknownContainer
        )),
        "{answers:?}"
    );
}

#[test]
fn news_of_another_activation_has_the_container_held_again() {
    let mut table = held();
    table.observe(&Change::ContainerUpdated(record("a", 2, "host:2")));
    assert!(actions(&mut table).contains(&reclaim_after("a", 2)));
    table.observe(&Change::ContainerUpdated(record("a", 2, "host:2")));
    assert_eq!(actions(&mut table), []);
}
