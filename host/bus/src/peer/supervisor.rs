//! The task of a peer: connects, and connects again.

use std::{collections::BTreeMap, future::Future, ops::ControlFlow, pin::pin, sync::Arc};

use hulynet_protocol::NetworkError;
use tokio::{
    sync::{mpsc, oneshot},
    time::sleep,
};

use super::{PeerEvent, Shared, backoff::Backoff, dial::dial, online::End};
use crate::{
    config::PeerConfig,
    exchange::Pending,
    lane::{ANY, Command, Lane},
    outbox::Outbox,
};

/// See the module. Calls that come while there is no connection are kept until
/// their callers lose patience.
pub(crate) struct Supervisor {
    pub(super) shared: Arc<Shared>,
    pub(super) config: PeerConfig,
    pub(super) lane: Lane,
    pub(super) commands: mpsc::UnboundedReceiver<Command>,
    pub(super) outbox: Outbox<PeerEvent>,
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
        let (kept, connection, backoff) = (BTreeMap::new(), 0, Backoff::new());
        let (refusal, closing) = (None, Vec::new());
        Self { shared, config, lane, commands, outbox, kept, connection, backoff, refusal, closing }
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
        for done in self.closing {
            // Nobody may be waiting any more.
            let _gone = done.send(());
        }
    }

    /// One connection, from dialling to the pause after it.
    async fn round(&mut self) -> ControlFlow<()> {
        let shared = Arc::clone(&self.shared);
        match self.offline(dial(&shared.address)).await? {
            Ok(dialed) => {
                self.connection += 1;
                match Box::pin(self.online(dialed)).await {
                    End::Closed => return ControlFlow::Break(()),
                    End::Lost => {}
                }
            }
            Err(why) => {
                tracing::debug!(address = %shared.address, %why, "cannot connect");
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
            tokio::select! {
                happened = &mut event => return ControlFlow::Continue(happened),
                () = self.outbox.flush() => {}
                command = self.commands.recv() => match command {
                    Some(command) => self.keep(command)?,
                    None => return ControlFlow::Break(()),
                },
            }
        }
    }

    /// A command while nothing can be sent.
    pub(super) fn keep(&mut self, command: Command) -> ControlFlow<()> {
        match command {
            Command::Call { connection, id, message, asker } => {
                self.keep_call(connection, id, Pending { asker, message: Some(message) });
            }
            Command::Cancel { id, .. } => drop(self.kept.remove(&id)),
            Command::Close { done, .. } => {
                self.closing.push(done);
                return ControlFlow::Break(());
            }
            Command::End => return ControlFlow::Break(()),
            Command::Event { message, .. } => self.shared.account.sub(message.cost()),
            // They are about a connection that is gone.
            Command::Answer { .. } | Command::Credit { .. } | Command::Forget(_) => {}
        }
        ControlFlow::Continue(())
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
