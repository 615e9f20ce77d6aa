//! The task of a peer: connects, and connects again.

use std::{
    collections::BTreeMap,
    future::Future,
    hash::{BuildHasher, RandomState},
    ops::ControlFlow,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use hulynet_protocol::{ClientId, ErrorKind, Frame, NetworkError, ServerId};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep, sleep_until},
};

use super::{
    PeerEvent, Shared,
    backoff::Backoff,
    dial::{DialError, dial},
    line::NATIVE,
    online::End,
};
use crate::{
    config::PeerConfig,
    exchange::{Exchange, Pending},
    lane::{ANY, Command, Lane},
    outbox::Outbox,
};

/// See the module. Calls that come while there is no connection are kept until
/// their callers lose patience.
pub(crate) struct Supervisor {
    pub(super) shared: Arc<Shared>,
    pub(super) config: PeerConfig,
    pub(super) commands: mpsc::UnboundedReceiver<Command>,
    pub(super) outbox: Outbox<PeerEvent>,
    /// The requests of the session, in both directions.
    pub(super) exchange: Exchange,
    /// The session, by its server's name and its own.
    pub(super) session: Option<(ServerId, u64)>,
    /// Tells this peer from others of the same client.
    pub(super) run: u64,
    /// When what was sent is given up, if the session does not go on before.
    pub(super) give_up_at: Option<Instant>,
    /// Calls to send once there is a session, by id: in order.
    pub(super) kept: BTreeMap<u64, Pending>,
    /// Names connections.
    pub(super) connection: u64,
    pub(super) backoff: Backoff,
    /// What the owner was told of why the server refuses us.
    pub(super) refusal: Option<NetworkError>,
    /// Who waits for the end.
    pub(super) closing: Vec<oneshot::Sender<()>>,
}

impl Supervisor {
    pub(crate) fn new(
        shared: Arc<Shared>,
        config: PeerConfig,
        lane: Lane,
        commands: mpsc::UnboundedReceiver<Command>,
        outbox: Outbox<PeerEvent>,
    ) -> Self {
        // The server names itself in its welcome.
        let (client, calls) = (config.client.clone(), Arc::clone(&shared.calls));
        Self {
            exchange: Exchange::new(1, client, lane, calls),
            session: None,
            // Randomly keyed, so different for each peer.
            run: RandomState::new().hash_one(()),
            give_up_at: None,
            kept: BTreeMap::new(),
            connection: 0,
            backoff: Backoff::new(),
            refusal: None,
            closing: Vec::new(),
            shared,
            config,
            commands,
            outbox,
        }
    }

    /// Runs until closed, or until the last handle is gone.
    pub(crate) async fn run(mut self) {
        while self.round().await.is_continue() {}
        let why = "this peer was closed";
        self.shared.apart(why);
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            // It has ended already.
            let _end = self.keep(command);
        }
        self.end_kept(&super::unreachable(&self.shared.address, why));
        self.exchange.end(&crate::ask::closed());
        for done in self.closing {
            // Nobody may be waiting any more.
            let _gone = done.send(());
        }
    }

    /// One connection, from dialling to the pause after it.
    async fn round(&mut self) -> ControlFlow<()> {
        let shared = Arc::clone(&self.shared);
        match self.offline(dial(&shared.address, NATIVE)).await? {
            Ok(line) => {
                self.connection += 1;
                match Box::pin(self.online(line)).await {
                    End::Closed => return ControlFlow::Break(()),
                    End::Lost => {}
                }
            }
            Err(DialError { why, refused }) => {
                tracing::debug!(address = %shared.address, %why, "cannot connect");
                if refused {
                    // Nobody listens: who had the session is gone.
                    self.give_up(&why);
                }
                shared.apart(why);
            }
        }
        let pause = self.backoff.pause();
        self.offline(sleep(pause)).await
    }

    /// Waits for `event` and keeps up with commands meanwhile.
    async fn offline<T>(&mut self, event: impl Future<Output = T>) -> ControlFlow<(), T> {
        let mut event = pin!(event);
        loop {
            let give_up_at = self.give_up_at;
            tokio::select! {
                happened = &mut event => return ControlFlow::Continue(happened),
                () = sleep_until(give_up_at.unwrap_or_else(Instant::now)),
                    if give_up_at.is_some() => self.give_up("it did not come back in time"),
                () = self.outbox.flush() => {}
                command = self.commands.recv() => match command {
                    Some(command) => self.keep(command)?,
                    None => return ControlFlow::Break(()),
                },
            }
        }
    }

    /// The session goes on, or another one begins: then what was sent and not
    /// answered ends, because it may have been processed in the former.
    /// Answers whether it goes on: the welcome of the one that the server
    /// means may have been lost.
    pub(super) fn welcomed(&mut self, server: &ServerId, session: u64) -> bool {
        self.give_up_at = None;
        let joined = (server.clone(), session);
        if self.session.as_ref() == Some(&joined) {
            return true;
        }
        let why = format!("{} forgot this session", self.shared.address);
        let error = NetworkError::maybe_processed(ErrorKind::Unavailable, why);
        let peer = ClientId::new(server.as_str()).unwrap_or_else(|_| self.config.client.clone());
        self.exchange.renew(peer, &error);
        self.session = Some(joined);
        false
    }

    /// Ends the calls that were sent and cannot be sent again.
    pub(super) fn give_up(&mut self, why: &str) {
        self.give_up_at = None;
        let error = format!("the connection to {} was lost: {why}", self.shared.address);
        self.exchange.give_up(&NetworkError::maybe_processed(ErrorKind::Unavailable, error));
    }

    /// A command while nothing can be sent.
    pub(super) fn keep(&mut self, command: Command) -> ControlFlow<()> {
        match command {
            Command::Call { to, id, message, asker, .. } => {
                self.keep_call(to, id, Pending { asker, message });
            }
            // Nobody can be told, and the requests that were cancelled are not
            // sent again.
            Command::Cancel { id, .. } => drop((self.kept.remove(&id), self.exchange.cancel(id))),
            Command::Expire { id, time, .. } => drop(self.expire(id, time)),
            Command::Answer { session, id, message, streams } => {
                if session == self.exchange.session() {
                    drop(self.exchange.answer(id, message, streams));
                }
            }
            Command::Close { done, .. } => {
                self.closing.push(done);
                return ControlFlow::Break(());
            }
            Command::End => return ControlFlow::Break(()),
            Command::Event { message, .. } => self.shared.account.sub(message.cost()),
            // Streams have ended with their connection.
            Command::Chunk { .. }
            | Command::Credit { .. }
            | Command::Forget(_)
            | Command::Original(_) => {}
        }
        ControlFlow::Continue(())
    }

    /// The time of a call is over.
    pub(super) fn expire(&mut self, id: u64, time: Duration) -> Option<Frame> {
        let Some(pending) = self.kept.remove(&id) else { return self.exchange.expire(id, time) };
        // The caller may have left.
        drop(pending.asker.send(Err(self.shared.unsent())));
        None
    }

    /// Keeps a call that any connection will do for; ends one that was meant
    /// for a connection that is gone.
    pub(super) fn keep_call(&mut self, connection: u64, id: u64, call: Pending) {
        if connection == ANY {
            self.kept.insert(id, call);
            return;
        }
        let error = super::unreachable(&self.shared.address, "the connection was lost");
        // The caller may have left.
        let _gone = call.asker.send(Err(error));
    }

    /// The server refuses us, and will as long as neither side changes: nobody
    /// waits for that. It is tried again all the same.
    pub(super) fn refused(&mut self, error: NetworkError) {
        self.end_kept(&error);
        self.give_up(&error.message);
        if self.refusal.as_ref() != Some(&error) {
            self.outbox.deliver(PeerEvent::Refused(error.clone()));
            self.refusal = Some(error);
        }
    }

    pub(super) fn end_kept(&mut self, error: &NetworkError) {
        while let Some((_, pending)) = self.kept.pop_first() {
            // The caller may have left.
            drop(pending.asker.send(Err(error.clone())));
        }
    }
}
