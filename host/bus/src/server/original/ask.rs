//! What owners of a server say to peers of the original.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use hulynet_protocol::{ClientId, NetworkError};
use tokio::{sync::oneshot, time::timeout};

use super::super::Server;
use crate::{
    ask::{closed, late, unsent},
    exchange::busy,
    lane::Command,
    original::{OriginalAnswer, OriginalAsk, OriginalCommand, Waiting},
};

impl Server {
    /// Asks a peer that speaks the language of the original; `body` is the JSON
    /// of a method and its parameters. Ends with the answer, the loss of the
    /// peer's connection, or the timeout. Dropping the future gives the
    /// question up.
    ///
    /// # Errors
    /// `Unavailable` when it is unknown or reconnecting now, and, maybe
    /// processed, when its connection was lost meanwhile; `DeadlineExceeded`;
    /// `Busy` before sending.
    pub async fn ask_original(
        &self,
        peer: &ClientId,
        body: Bytes,
        time: Duration,
    ) -> Result<OriginalAnswer, NetworkError> {
        let link = self.0.originals.get(peer)?;
        if !link.account.begin_call() {
            return Err(busy(
                "too many requests to this peer wait for their answers; wait for some",
            ));
        }
        let (lane, account) = (self.0.lane.clone(), Arc::clone(&link.account));
        let number = self.0.asked.fetch_add(1, Ordering::Relaxed);
        let connection = link.number;
        let _ask = OriginalAsk { lane, account, connection, number };
        let (asker, answer) = oneshot::channel();
        let waiting = Waiting::new(&link.account, body.len());
        let command = OriginalCommand::Ask { connection, number, body, asker, waiting };
        self.0.lane.send(Command::Original(command)).map_err(|_| unsent())?;
        match timeout(time, answer).await {
            Ok(answer) => answer.unwrap_or_else(|_| Err(closed())),
            Err(_elapsed) => Err(late(time)),
        }
    }

    /// Tells a peer that speaks the language of the original; never waits. One
    /// for which too much waits misses it, and so does one that reconnects, which
    /// is asked for hello when it comes back.
    pub fn tell_original(&self, peer: &ClientId, body: Bytes) {
        let Ok(link) = self.0.originals.get(peer) else { return };
        if !link.account.takes_events() {
            return link.account.misses();
        }
        let waiting = Waiting::new(&link.account, body.len());
        let command = OriginalCommand::Event { connection: link.number, body, waiting };
        // A closed lane has nobody to tell.
        let _ended = self.0.lane.send(Command::Original(command));
    }

    /// A peer that speaks the language of the original missed something. With the
    /// next that it sends when there is room it is asked for hello: then it asks
    /// for everything anew.
    pub fn original_missed(&self, peer: &ClientId) {
        if let Ok(link) = self.0.originals.get(peer) {
            link.account.misses();
        }
    }

    /// Tells all peers that speak the language of the original; never waits. A
    /// peer for which too much waits misses it.
    pub fn tell_originals(&self, body: Bytes) {
        // A closed lane has nobody to tell.
        let _ended = self.0.lane.send(Command::Original(OriginalCommand::Broadcast(body)));
    }
}
