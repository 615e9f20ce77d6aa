//! Which workspaces are followed, and for whom.

use std::collections::{BTreeMap, BTreeSet};

use crate::place::Place;

/// Follows are wanted while there is a connection. `H` stops one follow when
/// it is dropped.
#[derive(Debug)]
pub(crate) struct Following<H> {
    connections: BTreeSet<String>,
    follows: BTreeMap<String, H>,
    /// Where follows that ended by themselves stopped.
    stopped: BTreeMap<String, Place>,
}

impl<H> Default for Following<H> {
    fn default() -> Self {
        Self { connections: BTreeSet::new(), follows: BTreeMap::new(), stopped: BTreeMap::new() }
    }
}

impl<H> Following<H> {
    /// A connection came.
    pub(crate) fn connect(&mut self, connection: &str) {
        self.connections.insert(connection.to_owned());
    }

    /// A connection went; with the last one all follows stop for good.
    pub(crate) fn disconnect(&mut self, connection: &str) {
        self.connections.remove(connection);
        if self.connections.is_empty() {
            self.follows.clear();
            self.stopped.clear();
        }
    }

    /// True while there is a connection.
    pub(crate) fn is_wanted(&self) -> bool {
        !self.connections.is_empty()
    }

    /// True if a follow of the workspace is wanted and missing.
    pub(crate) fn lacks(&self, workspace: &str) -> bool {
        self.is_wanted() && !self.follows.contains_key(workspace)
    }

    /// Where the workspace's next follow goes on, if it was followed before.
    pub(crate) fn stopped_at(&self, workspace: &str) -> Option<Place> {
        self.stopped.get(workspace).copied()
    }

    /// A follow of the workspace begins, unless it lost its purpose while it
    /// was prepared: then it is dropped.
    pub(crate) fn begin(&mut self, workspace: &str, follow: H) -> bool {
        let lacks = self.lacks(workspace);
        if lacks {
            self.follows.insert(workspace.to_owned(), follow);
            self.stopped.remove(workspace);
        }
        lacks
    }

    /// The follow of a workspace has ended by itself after passing on the
    /// events up to a place.
    pub(crate) fn ended(&mut self, workspace: &str, place: Place) {
        if self.follows.remove(workspace).is_some() {
            self.stopped.insert(workspace.to_owned(), place);
        }
    }

    /// The follows.
    pub(crate) fn follows(&mut self) -> impl Iterator<Item = &mut H> {
        self.follows.values_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_followed_without_a_connection() {
        let mut following = Following::default();
        assert!(!following.lacks("w") && !following.begin("w", ()));
        following.connect("c");
        assert!(following.lacks("w") && following.begin("w", ()));
        assert!(!following.lacks("w") && !following.begin("w", ()));
    }

    #[test]
    fn the_last_connection_stops_every_follow() {
        let mut following = Following::default();
        following.connect("c1");
        following.connect("c2");
        following.begin("w", ());
        following.disconnect("c1");
        assert_eq!(following.follows().count(), 1);
        following.disconnect("c2");
        assert_eq!((following.follows().count(), following.is_wanted()), (0, false));
    }

    #[test]
    fn a_follow_that_ended_goes_on_where_it_stopped() {
        let mut following = Following::default();
        following.connect("c");
        following.begin("w", ());
        following.ended("w", Place::at(7));
        assert!(following.lacks("w"));
        assert_eq!(following.stopped_at("w"), Some(Place::at(7)));
        following.begin("w", ());
        assert_eq!(following.stopped_at("w"), None);
    }

    #[test]
    fn a_connection_that_comes_later_starts_anew() {
        let mut following = Following::default();
        following.connect("c");
        following.begin("w", ());
        following.ended("w", Place::at(7));
        following.disconnect("c");
        following.connect("d");
        assert_eq!(following.stopped_at("w"), None);
    }
}
