//! Watchers that were too slow for events.
//!
//! Events to a peer wait in its own queue on the bus, so one that reads slowly
//! delays nobody else. One whose queue is full misses events, which it cannot
//! know before it sees a later revision. So the newest event of all is kept and
//! sent to it as soon as there is room: the gap before it makes the watcher ask
//! for a fresh snapshot.

use std::{collections::BTreeSet, time::Duration};

use hulynet_protocol::{ClientId, ErrorKind, Event, NetworkError, NetworkEvent};
use tokio::time::Instant;

/// How often watchers that missed events are tried again.
const AGAIN: Duration = Duration::from_millis(50);

/// Peers that an event could not be sent to, and why.
pub(crate) type Refused = Vec<(ClientId, NetworkError)>;

/// The slow watchers, and what they are to be told.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    behind: BTreeSet<ClientId>,
    /// The newest event of all.
    newest: Option<NetworkEvent>,
    /// When the slow ones are tried again; nothing when there are none.
    again: Option<Instant>,
}

impl Watchers {
    /// Tells what changed with `send`, which never waits.
    pub(crate) fn tell(
        &mut self,
        now: Instant,
        clients: Vec<ClientId>,
        events: Vec<NetworkEvent>,
        send: impl FnOnce(&[ClientId], Event) -> Refused,
    ) {
        self.newest = events.last().cloned();
        let ready: Vec<ClientId> =
            clients.into_iter().filter(|client| !self.behind.contains(client)).collect();
        for (client, error) in send(&ready, Event::Network(events)) {
            if is_left_behind(&error) {
                tracing::warn!(%client, %error, "watcher misses events");
                self.behind.insert(client);
            }
        }
        if !self.behind.is_empty() && self.again.is_none() {
            self.again = Some(now + AGAIN);
        }
    }

    /// When slow watchers are to be tried again.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.again
    }

    pub(crate) fn tell_again(
        &mut self,
        now: Instant,
        send: impl FnOnce(&[ClientId], Event) -> Refused,
    ) {
        let behind: Vec<ClientId> = std::mem::take(&mut self.behind).into_iter().collect();
        if let Some(newest) = &self.newest {
            let refused = send(&behind, Event::Network(vec![newest.clone()]));
            let still = refused.into_iter().filter(|(_, error)| is_left_behind(error));
            self.behind = still.map(|(client, _)| client).collect();
        }
        self.again = (!self.behind.is_empty()).then(|| now + AGAIN);
    }

    pub(crate) fn forget(&mut self, client: &ClientId) {
        self.behind.remove(client);
    }
}

/// Its queue is full, or the events are too many for one message. Otherwise it
/// is gone or reconnecting, and then it watches anew.
fn is_left_behind(error: &NetworkError) -> bool {
    error.kind != ErrorKind::Unavailable
}

#[cfg(test)]
mod tests {
    use hulynet_protocol::{AgentId, Change};

    use super::*;

    fn client(name: &str) -> ClientId {
        ClientId::new(name).unwrap()
    }

    fn event(revision: u64) -> NetworkEvent {
        let change = Change::AgentRemoved(AgentId::new("a").unwrap());
        NetworkEvent { since: revision - 1, revision, change }
    }

    fn busy(who: &str) -> (ClientId, NetworkError) {
        (client(who), NetworkError::not_processed(ErrorKind::Busy, "full"))
    }

    /// Whom something was sent to, and the revisions in it.
    type Sent = Option<(Vec<String>, Vec<u64>)>;

    fn note(sent: &mut Sent, to: &[ClientId], event: Event) {
        let Event::Network(events) = event else { panic!() };
        let names = to.iter().map(ToString::to_string).collect();
        *sent = Some((names, events.iter().map(|event| event.revision).collect()));
    }

    #[test]
    fn a_slow_watcher_delays_nobody_and_is_told_of_the_newest_event_when_it_has_room() {
        let (mut watchers, now) = (Watchers::default(), Instant::now());
        let both = || vec![client("fast"), client("slow")];
        let tell = |watchers: &mut Watchers, revisions: &[u64], refused: Refused| {
            let events = revisions.iter().map(|revision| event(*revision)).collect();
            let mut sent = None;
            watchers.tell(now, both(), events, |to, event| {
                note(&mut sent, to, event);
                refused
            });
            sent.unwrap()
        };
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();

        let sent = tell(&mut watchers, &[1, 2], vec![busy("slow")]);
        assert_eq!(sent, (names(&["fast", "slow"]), vec![1, 2]));
        assert_eq!(watchers.due(), Some(now + AGAIN));
        assert_eq!(tell(&mut watchers, &[3], vec![]), (names(&["fast"]), vec![3]));

        let again = |watchers: &mut Watchers, refused: Refused| {
            let mut sent = None;
            watchers.tell_again(now + AGAIN, |to, event| {
                note(&mut sent, to, event);
                refused
            });
            sent.unwrap()
        };
        assert_eq!(again(&mut watchers, vec![busy("slow")]), (names(&["slow"]), vec![3]));
        assert_eq!(watchers.due(), Some(now + AGAIN * 2));
        assert_eq!(again(&mut watchers, vec![]), (names(&["slow"]), vec![3]));
        assert_eq!(watchers.due(), None);
        assert_eq!(tell(&mut watchers, &[4], vec![]), (names(&["fast", "slow"]), vec![4]));
    }

    #[test]
    fn a_watcher_that_is_gone_is_not_waited_for() {
        let (mut watchers, now) = (Watchers::default(), Instant::now());
        let gone = NetworkError::not_processed(ErrorKind::Unavailable, "gone");
        watchers.tell(now, vec![client("w")], vec![event(1)], |_, _| vec![(client("w"), gone)]);
        assert_eq!(watchers.due(), None);
        watchers.tell(now, vec![client("w")], vec![event(2)], |_, _| vec![busy("w")]);
        watchers.forget(&client("w"));
        watchers.tell_again(now + AGAIN, |to, _| {
            assert_eq!(to, []);
            vec![]
        });
        assert_eq!(watchers.due(), None);
    }
}
