use hulynet_protocol::ErrorKind;

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);
const STEADY: Duration = Duration::from_secs(3);

fn epoch(counter: u64) -> Epoch {
    Epoch { term: 1, counter }
}

fn direct(counter: u64) -> Attached {
    Attached { path: Path::Direct("host:1".to_owned()), epoch: epoch(counter) }
}

fn proxied(counter: u64) -> Attached {
    Attached { path: Path::Proxied, epoch: epoch(counter) }
}

fn busy() -> NetworkError {
    NetworkError::not_processed(ErrorKind::Busy, "the connection exists still")
}

fn away() -> NetworkError {
    NetworkError::not_processed(ErrorKind::Unavailable, "away")
}

fn refused() -> NetworkError {
    NetworkError::refused(ErrorKind::PermissionDenied, "not you")
}

fn opened(now: Instant) -> Attachment {
    let mut attachment = Attachment::new(now, PATIENCE, STEADY);
    assert_eq!(attachment.step(now), Step::Route(now + PATIENCE));
    attachment
}

/// One that is attached there.
fn attached(now: Instant, place: Attached) -> Attachment {
    let mut attachment = opened(now);
    attachment.routed(place.clone());
    assert_eq!(attachment.step(now), Step::Connect(place, now + PATIENCE));
    assert_eq!(attachment.connected(now), News::Opened);
    assert_eq!(attachment.step(now), Step::Wait(None));
    attachment
}

/// Passes the pause that it wants; answers the time after it.
fn pass(attachment: &mut Attachment, now: Instant) -> Instant {
    match attachment.step(now) {
        Step::Wait(Some(until)) => until,
        other => panic!("expected a pause, not {other:?}"),
    }
}

#[test]
fn a_connection_that_lost_its_path_is_made_again_and_says_so() {
    let now = Instant::now();
    let mut attachment = attached(now, direct(1));
    attachment.lost_path(&Path::Proxied);
    assert_eq!(attachment.step(now), Step::Wait(None), "another path");
    attachment.lost_path(&direct(1).path);
    let now = pass(&mut attachment, now);
    assert_eq!(attachment.step(now), Step::Route(now + PATIENCE));
    attachment.routed(direct(2));
    assert_eq!(attachment.step(now), Step::Connect(direct(2), now + PATIENCE));
    assert_eq!(attachment.connected(now), News::Reconnected(epoch(2)));
}

#[test]
fn a_connection_follows_its_container_and_not_what_is_older() {
    let now = Instant::now();
    let mut attachment = attached(now, direct(2));
    attachment.moved(epoch(1));
    attachment.moved(epoch(2));
    assert_eq!(attachment.step(now), Step::Wait(None));
    attachment.moved(epoch(3));
    assert!(matches!(attachment.step(now), Step::Wait(Some(_))));
}

#[test]
fn events_of_another_activation_or_on_another_path_are_not_taken() {
    let now = Instant::now();
    let mut attachment = attached(now, direct(2));
    let path = direct(2).path;
    assert!(attachment.accepts(&path, epoch(2)));
    assert!(!attachment.accepts(&path, epoch(1)));
    assert!(!attachment.accepts(&path, epoch(3)));
    assert!(!attachment.accepts(&Path::Proxied, epoch(2)));
    // Known to be over, before it is attached again.
    attachment.moved(epoch(3));
    assert!(!attachment.accepts(&path, epoch(2)));
}

#[test]
fn events_that_overtake_the_answer_are_taken() {
    let now = Instant::now();
    let mut attachment = opened(now);
    attachment.routed(direct(1));
    assert!(attachment.accepts(&direct(1).path, epoch(1)));
}

#[test]
fn the_name_is_given_back_on_the_path_that_it_was_used_over() {
    let now = Instant::now();
    let mut attachment = attached(now, proxied(1));
    attachment.disturb();
    let now = pass(&mut attachment, now);
    attachment.step(now);
    attachment.routed(direct(1));
    assert_eq!(attachment.step(now), Step::Leave(proxied(1)));
    assert_eq!(attachment.places().collect::<Vec<_>>(), [&proxied(1)]);
    attachment.left(true);
    assert_eq!(attachment.step(now), Step::Connect(direct(1), now + PATIENCE));
    assert_eq!(attachment.places().collect::<Vec<_>>(), [&direct(1)]);
}

#[test]
fn a_goodbye_that_was_not_heard_is_said_again_before_the_next_attempt() {
    let now = Instant::now();
    let mut attachment = attached(now, proxied(1));
    attachment.disturb();
    let now = pass(&mut attachment, now);
    attachment.step(now);
    attachment.routed(direct(1));
    attachment.left(false);
    assert_eq!(attachment.places().collect::<Vec<_>>(), [&direct(1), &proxied(1)]);
    assert!(!attachment.failed(now, epoch(1), busy()));
    let now = pass(&mut attachment, now);
    attachment.step(now);
    attachment.routed(direct(1));
    assert_eq!(attachment.step(now), Step::Leave(proxied(1)));
    attachment.left(true);
    attachment.connected(now);
    assert_eq!(attachment.places().collect::<Vec<_>>(), [&direct(1)]);
}

#[test]
fn nobody_says_goodbye_to_an_activation_that_is_over() {
    let now = Instant::now();
    let mut attachment = attached(now, direct(1));
    attachment.moved(epoch(2));
    let now = pass(&mut attachment, now);
    attachment.step(now);
    attachment.routed(proxied(2));
    assert!(matches!(attachment.step(now), Step::Connect(..)));
}

#[test]
fn what_is_not_where_it_was_tried_is_located_before_the_next_attempt() {
    let now = Instant::now();
    let mut attachment = opened(now);
    attachment.routed(direct(1));
    assert!(!attachment.failed(now, epoch(1), away()));
    let now = pass(&mut attachment, now);
    let step = attachment.step(now);
    assert!(matches!(step, Step::Locate { tried, .. } if tried == epoch(1)), "{step:?}");
    assert!(!attachment.located(now, Ok(())));
    assert!(matches!(attachment.step(now), Step::Route(_)));
}

#[test]
fn a_first_round_without_success_ends_the_connection() {
    let now = Instant::now();
    let mut attachment = opened(now);
    attachment.routed(direct(1));
    assert!(attachment.failed(now, epoch(1), refused()));
    assert_eq!(attachment.step(now), Step::End(refused()));
    let mut attachment = opened(now);
    attachment.routed(direct(1));
    attachment.failed(now, epoch(1), away());
    let now = pass(&mut attachment, now);
    assert!(matches!(attachment.step(now), Step::Locate { .. }));
    attachment.unlocated(now + PATIENCE);
    assert_eq!(attachment.step(now), Step::End(away()), "it says more than that there was no time");
}

#[test]
fn later_rounds_go_on_until_the_container_refuses() {
    let now = Instant::now();
    let mut attachment = attached(now, direct(1));
    attachment.disturb();
    let mut now = pass(&mut attachment, now);
    for _ in 0..3 {
        attachment.step(now);
        attachment.routed(direct(1));
        let late = NetworkError::not_processed(ErrorKind::DeadlineExceeded, "late");
        assert!(attachment.failed(now, epoch(1), late));
        now = pass(&mut attachment, now);
    }
    attachment.step(now);
    attachment.routed(direct(1));
    assert!(attachment.failed(now, epoch(1), refused()));
    assert_eq!(attachment.step(now), Step::End(refused()));
}

#[test]
fn a_container_that_ends_at_each_connection_is_not_hammered() {
    let mut now = Instant::now();
    let mut attachment = attached(now, direct(1));
    let mut last = Duration::ZERO;
    for _ in 0..5 {
        attachment.disturb();
        let then = pass(&mut attachment, now);
        assert!(then - now > last, "the pauses grow");
        (last, now) = (then - now, then);
        attachment.step(now);
        attachment.routed(direct(1));
        attachment.connected(now);
    }
    now += STEADY * 2;
    attachment.disturb();
    assert!(pass(&mut attachment, now) - now < last, "it was steady");
}

#[test]
fn what_breaks_during_an_attempt_leads_to_another_one() {
    let now = Instant::now();
    let mut attachment = opened(now);
    attachment.routed(direct(1));
    attachment.step(now);
    attachment.lost_path(&direct(1).path);
    attachment.connected(now);
    assert!(matches!(attachment.step(now), Step::Wait(Some(_))));
}

#[test]
fn what_the_other_side_ends_for_good_is_over_whatever_is_under_way() {
    let now = Instant::now();
    let mut steady = attached(now, direct(1));
    assert_eq!(steady.attached(), Some(&direct(1)));
    steady.end(refused());
    assert_eq!(steady.step(now), Step::End(refused()));
    let mut again = attached(now, direct(1));
    again.disturb();
    assert_eq!(again.attached(), None);
    let later = pass(&mut again, now);
    assert_eq!(again.step(later), Step::Route(later + PATIENCE));
    again.end(refused());
    again.routed(direct(1));
    again.connected(later);
    assert_eq!(again.step(later), Step::End(refused()));
}
