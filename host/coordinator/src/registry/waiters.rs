//! Requests that wait for a container to start or to end.

use std::collections::{BTreeMap, BTreeSet};

use hulynet_protocol::{ClientId, Uuid};

use super::Token;

/// What a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// The container runs; then the client holds it.
    Hold,
    /// The container ended, or answered *not yet* when it is not forced.
    End {
        /// It must end.
        force: bool,
    },
}

/// One request that waits.
#[derive(Clone, Debug)]
pub(crate) struct Waiter {
    pub(crate) token: Token,
    pub(crate) client: ClientId,
    pub(crate) wish: Wish,
}

/// All waiting requests, by container, request and client. Their number is
/// bounded by the bus, which bounds the requests in progress per peer.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    by_container: BTreeMap<Uuid, Vec<Waiter>>,
    by_token: BTreeMap<Token, Uuid>,
    by_client: BTreeMap<ClientId, BTreeSet<Token>>,
}

impl Waiters {
    pub(crate) fn add(&mut self, uuid: &Uuid, waiter: Waiter) {
        self.by_token.insert(waiter.token, uuid.clone());
        self.by_client.entry(waiter.client.clone()).or_default().insert(waiter.token);
        self.by_container.entry(uuid.clone()).or_default().push(waiter);
    }

    /// Takes those of one container that match, in order of arrival.
    pub(crate) fn take(&mut self, uuid: &Uuid, matches: impl Fn(Wish) -> bool) -> Vec<Waiter> {
        let Some(all) = self.by_container.remove(uuid) else { return Vec::new() };
        let (taken, left): (Vec<_>, Vec<_>) = all.into_iter().partition(|w| matches(w.wish));
        if !left.is_empty() {
            self.by_container.insert(uuid.clone(), left);
        }
        for waiter in &taken {
            self.unlink(waiter);
        }
        taken
    }

    /// Those of one container, in order of arrival.
    pub(crate) fn of(&self, uuid: &Uuid) -> &[Waiter] {
        self.by_container.get(uuid).map_or(&[], Vec::as_slice)
    }

    /// Whether one of the container's waiters matches.
    pub(crate) fn any(&self, uuid: &Uuid, matches: impl Fn(Wish) -> bool) -> bool {
        self.by_container.get(uuid).is_some_and(|all| all.iter().any(|w| matches(w.wish)))
    }

    /// Forgets one request; gives the container it waited for.
    pub(crate) fn cancel(&mut self, token: Token) -> Option<Uuid> {
        let uuid = self.by_token.get(&token)?.clone();
        let all = self.by_container.get_mut(&uuid)?;
        let position = all.iter().position(|w| w.token == token)?;
        let waiter = all.remove(position);
        if all.is_empty() {
            self.by_container.remove(&uuid);
        }
        self.unlink(&waiter);
        Some(uuid)
    }

    /// Forgets all requests of a client; gives the containers they waited for.
    pub(crate) fn cancel_client(&mut self, client: &ClientId) -> BTreeSet<Uuid> {
        let tokens = self.by_client.get(client).cloned().unwrap_or_default();
        tokens.into_iter().filter_map(|token| self.cancel(token)).collect()
    }

    fn unlink(&mut self, waiter: &Waiter) {
        self.by_token.remove(&waiter.token);
        if let Some(tokens) = self.by_client.get_mut(&waiter.client) {
            tokens.remove(&waiter.token);
            if tokens.is_empty() {
                self.by_client.remove(&waiter.client);
            }
        }
    }

    pub(crate) fn containers(&self) -> impl Iterator<Item = &Uuid> {
        self.by_container.keys()
    }

    pub(crate) fn clients(&self) -> impl Iterator<Item = &ClientId> {
        self.by_client.keys()
    }

    /// Whether the three views hold the same requests.
    pub(crate) fn is_consistent(&self) -> bool {
        let listed: usize = self.by_container.values().map(Vec::len).sum();
        let owned: usize = self.by_client.values().map(BTreeSet::len).sum();
        listed == self.by_token.len()
            && owned == listed
            && self.by_container.iter().all(|(uuid, all)| {
                !all.is_empty() && all.iter().all(|w| self.by_token.get(&w.token) == Some(uuid))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiter(token: u64, client: &str, wish: Wish) -> Waiter {
        Waiter { token: Token(token), client: ClientId::new(client).unwrap(), wish }
    }

    #[test]
    fn a_client_that_leaves_takes_its_requests_along() {
        let uuid = Uuid::new("x").unwrap();
        let mut waiters = Waiters::default();
        waiters.add(&uuid, waiter(1, "a", Wish::Hold));
        waiters.add(&uuid, waiter(2, "b", Wish::Hold));
        assert_eq!(waiters.cancel_client(&ClientId::new("a").unwrap()), [uuid.clone()].into());
        assert_eq!(waiters.cancel(Token(1)), None);
        let left = waiters.take(&uuid, |wish| wish == Wish::Hold);
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].token, Token(2));
        assert!(waiters.is_consistent());
        assert_eq!(waiters.clients().count(), 0);
    }
}
