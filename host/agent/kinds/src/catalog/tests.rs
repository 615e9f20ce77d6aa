use super::*;
use crate::{ContainerLimits, directory::Stamp};

/// The first starts of a new version that may fail.
const FAILED_STARTS: usize = 3;

type Test = Catalog<&'static str>;

fn kind(name: &str) -> Kind {
    Kind::new(name).unwrap()
}

fn echo() -> Kind {
    kind("echo")
}

fn source(length: u64) -> Source {
    Source { code: Stamp { length, ..Stamp::default() }, ..Source::default() }
}

/// The loads that are to begin, and the news.
fn drain(catalog: &mut Test) -> (Vec<Ticket>, Vec<News>) {
    let (mut loads, mut news) = (Vec::new(), Vec::new());
    while let Some(action) = catalog.poll_action() {
        match action {
            Action::Load { ticket, .. } => loads.push(ticket),
            Action::Tell(_, told) => news.push(told),
        }
    }
    (loads, news)
}

fn refused(reason: &str) -> Box<Refused> {
    Box::new(Refused { reason: reason.to_owned(), ..Refused::default() })
}

/// Drops a file in and lets its load end.
fn drop_in(catalog: &mut Test, result: Result<&'static str, &str>) -> Vec<News> {
    catalog.complete(echo(), source(1));
    let (loads, _) = drain(catalog);
    let loaded = result.map(|code| Loaded { hash: code.to_owned(), code });
    catalog.loaded(loads[0], loaded.map_err(refused));
    drain(catalog).1
}

fn serving(code: &'static str) -> Test {
    let mut catalog = Test::new(2);
    drop_in(&mut catalog, Ok(code));
    catalog
}

fn code(catalog: &Test, now: Instant) -> Result<&'static str, Unserved> {
    catalog.code(now, &echo(), None).map(|version| version.code)
}

/// Begins a container of what is served.
fn begin(catalog: &mut Test, now: Instant) -> Number {
    let number = catalog.code(now, &echo(), None).unwrap().number;
    catalog.begun(&echo(), number, None);
    number
}

/// A container that works for nobody ends.
fn end(catalog: &mut Test, now: Instant, number: Number, end: End) {
    let limits = ContainerLimits::default();
    catalog.ended(now, &echo(), Member { number, tenant: None, limits: &limits }, end);
}

/// Starts of a container that fail.
fn fail(catalog: &mut Test, now: Instant, times: usize) {
    for _ in 0..times {
        let number = begin(catalog, now);
        end(catalog, now, number, End::StartFailed("no".to_owned()));
    }
}

fn rolled_back(hash: &str) -> News {
    News::RolledBack { hash: hash.to_owned(), reason: "no".to_owned() }
}

fn state(catalog: &Test, now: Instant) -> State {
    catalog.status(now)[0].1.state.clone()
}

#[test]
fn a_file_is_loaded_and_served() {
    let now = Instant::now();
    let mut catalog = Test::new(2);
    assert!(matches!(code(&catalog, now), Err(Unserved::Unknown { .. })));
    catalog.complete(echo(), source(1));
    assert_eq!(code(&catalog, now), Err(Unserved::Loading(echo())));
    assert!(catalog.served().is_empty());
    let (loads, _) = drain(&mut catalog);
    catalog.loaded(loads[0], Ok(Loaded { hash: "1".to_owned(), code: "1" }));
    assert_eq!(drain(&mut catalog).1, [News::Serving("1".to_owned())]);
    assert_eq!(code(&catalog, now), Ok("1"));
    assert_eq!(catalog.served(), [echo()]);
}

#[test]
fn a_replaced_file_serves_new_containers_and_the_old_ones_go_on() {
    let now = Instant::now();
    let mut catalog = serving("1");
    let old = begin(&mut catalog, now);
    catalog.complete(echo(), source(2));
    assert_eq!(code(&catalog, now), Ok("1"), "while the new one is checked");
    assert_eq!(state(&catalog, now), State::Loading);
    let (loads, _) = drain(&mut catalog);
    catalog.loaded(loads[0], Ok(Loaded { hash: "2".to_owned(), code: "2" }));
    begin(&mut catalog, now);
    let status = &catalog.status(now)[0].1;
    assert_eq!((status.state.clone(), status.newest, status.containers), (State::Serving, 1, 2));
    end(&mut catalog, now, old, End::Orderly);
    assert_eq!(catalog.status(now)[0].1.containers, 1);
}

#[test]
fn a_bad_file_is_refused_and_the_old_version_serves() {
    let now = Instant::now();
    let mut catalog = serving("1");
    let news = drop_in(&mut catalog, Err("truncated"));
    assert_eq!(news, [News::Refused { reason: "truncated".to_owned(), serving: true }]);
    assert_eq!(code(&catalog, now), Ok("1"));
    assert_eq!(state(&catalog, now), State::Refused(refused("truncated")));
    drop_in(&mut catalog, Ok("2"));
    assert_eq!(state(&catalog, now), State::Serving);
}

#[test]
fn that_a_bad_file_was_put_right_is_told_once() {
    let mut catalog = serving("1");
    drop_in(&mut catalog, Err("truncated"));
    let news = drop_in(&mut catalog, Ok("1"));
    assert_eq!(news, [News::Serving("1".to_owned())], "what served all the time");
    assert!(drop_in(&mut catalog, Ok("1")).is_empty());
}

#[test]
fn a_kind_that_was_never_good_tells_why() {
    let now = Instant::now();
    let mut catalog = Test::new(2);
    drop_in(&mut catalog, Err("truncated"));
    let refused = Unserved::Refused { kind: echo(), reason: "truncated".to_owned() };
    assert_eq!(code(&catalog, now), Err(refused));
    assert!(catalog.served().is_empty());
}

#[test]
fn the_first_failed_starts_of_a_new_version_roll_back() {
    let now = Instant::now();
    let mut catalog = serving("1");
    let number = begin(&mut catalog, now);
    catalog.started(&echo(), number);
    drop_in(&mut catalog, Ok("2"));
    fail(&mut catalog, now, FAILED_STARTS - 1);
    assert_eq!(code(&catalog, now), Ok("2"));
    fail(&mut catalog, now, 1);
    assert_eq!(drain(&mut catalog).1, [rolled_back("2")]);
    assert_eq!(code(&catalog, now), Ok("1"));
    assert_eq!(state(&catalog, now), State::RolledBack("no".to_owned()));
    fail(&mut catalog, now, 2 * FAILED_STARTS);
    assert_eq!(code(&catalog, now), Ok("1"), "there is nothing further back");
}

#[test]
fn one_start_that_succeeds_proves_a_version() {
    let now = Instant::now();
    let mut catalog = serving("1");
    drop_in(&mut catalog, Ok("2"));
    fail(&mut catalog, now, FAILED_STARTS - 1);
    let number = begin(&mut catalog, now);
    catalog.started(&echo(), number);
    fail(&mut catalog, now, 2 * FAILED_STARTS);
    assert_eq!(code(&catalog, now), Ok("2"));
}

#[test]
fn a_version_that_never_started_is_nothing_to_go_back_to() {
    let now = Instant::now();
    let mut catalog = serving("1");
    let number = begin(&mut catalog, now);
    catalog.started(&echo(), number);
    drop_in(&mut catalog, Ok("2"));
    drop_in(&mut catalog, Ok("3"));
    fail(&mut catalog, now, FAILED_STARTS);
    assert_eq!(code(&catalog, now), Ok("1"));
}

#[test]
fn late_failures_of_an_older_version_do_not_judge_the_new_one() {
    let now = Instant::now();
    let mut catalog = serving("1");
    let old: Vec<_> = (0..FAILED_STARTS).map(|_| begin(&mut catalog, now)).collect();
    drop_in(&mut catalog, Ok("2"));
    for number in old {
        end(&mut catalog, now, number, End::StartFailed("no".to_owned()));
    }
    assert_eq!(code(&catalog, now), Ok("2"));
}

#[test]
fn a_removed_kind_starts_nothing_and_drains() {
    let now = Instant::now();
    let mut catalog = serving("1");
    let number = begin(&mut catalog, now);
    catalog.gone(&echo());
    assert!(matches!(code(&catalog, now), Err(Unserved::Unknown { .. })));
    assert!(catalog.served().is_empty());
    assert_eq!(state(&catalog, now), State::Draining);
    end(&mut catalog, now, number, End::Orderly);
    assert_eq!(drain(&mut catalog).1, [News::Removed(1), News::Drained]);
    assert!(catalog.status(now).is_empty());
}

#[test]
fn a_kind_that_comes_back_while_it_drains_is_served_again() {
    let now = Instant::now();
    let mut catalog = serving("1");
    let number = begin(&mut catalog, now);
    catalog.gone(&echo());
    drop_in(&mut catalog, Ok("1"));
    assert_eq!(code(&catalog, now), Ok("1"));
    end(&mut catalog, now, number, End::Orderly);
    assert_eq!(state(&catalog, now), State::Serving);
}

#[test]
fn a_removed_kind_that_comes_back_bad_stays_and_tells_why() {
    let now = Instant::now();
    let mut catalog = serving("1");
    let number = begin(&mut catalog, now);
    catalog.gone(&echo());
    drop_in(&mut catalog, Err("truncated"));
    end(&mut catalog, now, number, End::Orderly);
    assert_eq!(state(&catalog, now), State::Refused(refused("truncated")));
}

#[test]
fn a_load_that_is_not_wanted_any_more_changes_nothing() {
    let now = Instant::now();
    let mut catalog = Test::new(2);
    catalog.complete(echo(), source(1));
    let (first, _) = drain(&mut catalog);
    catalog.complete(echo(), source(2));
    let (second, _) = drain(&mut catalog);
    catalog.loaded(second[0], Ok(Loaded { hash: "2".to_owned(), code: "2" }));
    catalog.loaded(first[0], Ok(Loaded { hash: "1".to_owned(), code: "1" }));
    assert_eq!(code(&catalog, now), Ok("2"));
    catalog.complete(echo(), source(3));
    let (third, _) = drain(&mut catalog);
    catalog.gone(&echo());
    catalog.loaded(third[0], Ok(Loaded { hash: "3".to_owned(), code: "3" }));
    assert!(catalog.status(now).is_empty());
}

#[test]
fn the_same_content_again_is_no_new_version() {
    let now = Instant::now();
    let mut catalog = serving("1");
    let number = catalog.code(now, &echo(), None).unwrap().number;
    assert!(drop_in(&mut catalog, Ok("1")).is_empty());
    assert_eq!(catalog.code(now, &echo(), None).unwrap().number, number);
}

#[test]
fn a_crash_loop_is_quarantined_and_a_new_version_ends_it() {
    let now = Instant::now();
    let mut catalog = serving("1");
    for _ in 0..5 {
        let number = begin(&mut catalog, now);
        catalog.started(&echo(), number);
        end(&mut catalog, now, number, End::Crashed("it trapped".to_owned()));
    }
    assert_eq!(
        drain(&mut catalog).1,
        [News::Quarantined { tenant: None, reason: "it trapped".to_owned() }]
    );
    let message = code(&catalog, now).unwrap_err().to_string();
    assert!(
        message.contains("quarantined for 10 s more") && message.contains("it trapped"),
        "{message}"
    );
    assert_eq!(state(&catalog, now), State::Quarantined("it trapped".to_owned()));
    drop_in(&mut catalog, Ok("2"));
    assert_eq!(code(&catalog, now), Ok("2"));
}

/// A container of this tenant, which begins and crashes.
fn crash(catalog: &mut Test, now: Instant, tenant: &str, limits: &ContainerLimits) {
    let tenant = Some(tenant);
    let number = catalog.code(now, &echo(), tenant).unwrap().number;
    catalog.begun(&echo(), number, tenant);
    catalog.started(&echo(), number);
    let end = End::Crashed("it trapped".to_owned());
    catalog.ended(now, &echo(), Member { number, tenant, limits }, end);
}

#[test]
fn a_crash_loop_of_one_tenant_takes_the_kind_from_nobody_else() {
    let now = Instant::now();
    let mut catalog = serving("1");
    let limits = ContainerLimits { crashes: 2, ..ContainerLimits::default() };
    (0..2).for_each(|_| crash(&mut catalog, now, "acme", &limits));
    let quarantined = catalog.code(now, &echo(), Some("acme")).unwrap_err().to_string();
    assert!(quarantined.contains("its containers of the tenant \"acme\" crash"), "{quarantined}");
    assert!(catalog.code(now, &echo(), Some("other")).is_ok());
    assert!(catalog.code(now, &echo(), None).is_ok());
    let told = State::Quarantined("for the tenant \"acme\": it trapped".to_owned());
    assert_eq!(state(&catalog, now), told);
    assert_eq!(state(&catalog, now + limits.quarantine), State::Serving);
}

#[test]
fn failed_starts_of_one_tenant_do_not_take_a_new_version_from_others() {
    let now = Instant::now();
    let mut catalog = serving("1");
    let limits = ContainerLimits::default();
    for tenant in ["one", "two"] {
        let number = catalog.code(now, &echo(), Some(tenant)).unwrap().number;
        catalog.begun(&echo(), number, Some(tenant));
        catalog.started(&echo(), number);
    }
    drop_in(&mut catalog, Ok("2"));
    let mut fail = |tenant| {
        let number = catalog.code(now, &echo(), tenant).unwrap().number;
        catalog.begun(&echo(), number, tenant);
        let end = End::StartFailed("no".to_owned());
        catalog.ended(now, &echo(), Member { number, tenant, limits: &limits }, end);
        catalog.code(now, &echo(), tenant).unwrap().code
    };
    assert!((0..2 * FAILED_STARTS).all(|_| fail(Some("one")) == "2"));
    assert_eq!(fail(Some("two")), "1", "it fails for everybody");
}

#[test]
fn loads_wait_for_a_slot() {
    let mut catalog = Test::new(1);
    catalog.complete(kind("a"), source(1));
    catalog.complete(kind("b"), source(1));
    let (first, _) = drain(&mut catalog);
    assert_eq!(first.len(), 1);
    assert_eq!(catalog.progress().total, 2);
    catalog.loaded(first[0], Err(refused("bad")));
    let (second, _) = drain(&mut catalog);
    assert_eq!(second.len(), 1);
}
