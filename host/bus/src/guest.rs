//! One connection to a server of the original network, to hear a container.
//!
//! Its rules are [`hulynet_backrpc::visit`]; this moves bytes and time. It
//! reads as fast as the server sends, because such a server drops what is not
//! read without a word: what becomes of events that nobody takes is for the
//! owner to say. The server is trusted with nothing: the lengths that it
//! announces are checked, and of messages that it begins and does not end all
//! guests together keep so much and no more.

use std::sync::{Arc, atomic::AtomicUsize};

use bytes::Bytes;
use hulynet_backrpc::{
    Message,
    visit::{Heard, Over, Subject, Visit},
};
use hulynet_protocol::{ClientId, ErrorKind, NetworkError};
use tokio::time::{Instant, sleep_until};

use crate::{
    peer::{DialError, Line, LineError, ORIGINAL, dial},
    share::Share,
};

/// The most bytes of messages that have not ended, of all guests.
const UNFINISHED: usize = 256 << 20;

/// The most bytes of events that may come before the server agreed.
const EARLY: usize = 1 << 20;

/// The most such events.
const EARLY_EVENTS: usize = 1024;

/// What all guests of a program share.
#[derive(Clone, Debug, Default)]
pub struct Guests(Arc<AtomicUsize>);

/// Hears one container. It ends with its connection; who wants to hear on
/// begins anew.
#[derive(Debug)]
pub struct Guest {
    address: String,
    line: Line,
    visit: Visit,
    unfinished: Share,
    /// What came before the server agreed.
    early: Vec<Bytes>,
}

impl Guests {
    /// Connects to the server at `HOST:PORT` and asks to hear; ends when the
    /// server agreed. Dropping the future gives it up.
    ///
    /// # Errors
    /// `Unavailable`, not processed, naming the address, when the server cannot
    /// be reached or goes away meanwhile; `Application` when it refuses.
    pub async fn visit(&self, address: &str, subject: Subject) -> Result<Guest, NetworkError> {
        let line = dial(address, ORIGINAL).await;
        let line = line.map_err(|DialError { why, .. }| unreachable(address, &why))?;
        let mut hello = Vec::new();
        // A name of its own: servers of the original take the next connection
        // of a client for the former one, which they then end.
        let visit =
            Visit::begin(Instant::now().into_std(), ClientId::random(), subject, &mut hello);
        let address = address.to_owned();
        let (unfinished, early) = (Share::of(&self.0), Vec::new());
        let mut guest = Guest { address, line, visit, unfinished, early };
        guest.post(&hello).map_err(|why| guest.lost(&why))?;
        let mut heard = Vec::new();
        // What came together with the end of the handshake was read already.
        guest.take(&mut heard).map_err(|why| guest.lost(&why))?;
        loop {
            let joined = heard.contains(&Heard::Joined);
            guest.early.extend(events(&mut heard));
            if joined {
                return Ok(guest);
            }
            let bytes: usize = guest.early.iter().map(Bytes::len).sum();
            if guest.early.len() > EARLY_EVENTS || bytes > EARLY {
                return Err(unreachable(
                    &guest.address,
                    "it sends events and does not agree to it",
                ));
            }
            guest.step(&mut heard).await.map_err(|why| guest.lost(&why))?;
        }
    }
}

impl Guest {
    /// Waits for events. Safe to drop.
    ///
    /// # Errors
    /// `Unavailable` when the connection is over: what the container sends from
    /// then on does not arrive.
    pub async fn hear(&mut self) -> Result<Vec<Bytes>, NetworkError> {
        let mut all = std::mem::take(&mut self.early);
        while all.is_empty() {
            let mut heard = Vec::new();
            self.step(&mut heard).await.map_err(|why| self.lost(&why))?;
            all.extend(events(&mut heard));
        }
        Ok(all)
    }

    /// Says goodbye, as far as the connection takes it at once.
    pub fn leave(self) {
        let Self { mut line, visit, .. } = self;
        // Otherwise the server notices by itself.
        let _gone = line.post_original(&visit.leave()).and_then(|()| line.flush());
    }

    /// Waits for something to happen, and takes it in.
    async fn step(&mut self, heard: &mut Vec<Heard>) -> Result<(), Lost> {
        self.line.flush()?;
        tokio::select! {
            received = self.line.receive() => received?,
            () = sleep_until(self.visit.next_timeout().into()) => {
                let mut send = Vec::new();
                self.visit.handle_timeout(Instant::now().into_std(), &mut send)?;
                self.post(&send)?;
            }
        }
        self.take(heard)
    }

    fn take(&mut self, heard: &mut Vec<Heard>) -> Result<(), Lost> {
        let mut send = Vec::new();
        let now = Instant::now().into_std();
        while let Some(frames) = self.line.next()? {
            let message =
                Message::read(frames.into_iter()).map_err(|why| Lost::Wrong(why.to_string()))?;
            heard.extend(self.visit.receive(now, message, &mut send)?);
        }
        self.unfinished.set(self.line.unfinished());
        if self.unfinished.own() > 0 && self.unfinished.all() > UNFINISHED {
            return Err(Lost::Wrong("too much was begun and not ended".to_owned()));
        }
        self.post(&send)
    }

    fn post(&mut self, messages: &[Message]) -> Result<(), Lost> {
        messages.iter().try_for_each(|message| self.line.post_original(message))?;
        Ok(self.line.flush()?)
    }

    /// The error for the owner. Hearing changes nothing, so it may always be
    /// begun anew.
    fn lost(&self, why: &Lost) -> NetworkError {
        let Self { address, .. } = self;
        match why {
            Lost::Over(Over::Refused(why)) => {
                NetworkError::refused(ErrorKind::Application, format!("{address} refused: {why}"))
            }
            why => unreachable(address, &why.to_string()),
        }
    }
}

fn events(heard: &mut Vec<Heard>) -> impl Iterator<Item = Bytes> + use<'_> {
    heard.drain(..).filter_map(|heard| match heard {
        Heard::Event(event) => Some(event),
        Heard::Joined => None,
    })
}

fn unreachable(address: &str, why: &str) -> NetworkError {
    NetworkError::not_processed(
        ErrorKind::Unavailable,
        format!("{address}, where the container is heard, cannot be reached: {why}"),
    )
}

/// Why a visit ended.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error(transparent)]
    Line(#[from] LineError),
    #[error(transparent)]
    Over(#[from] Over),
    #[error("it sent what cannot be read: {0}")]
    Wrong(String),
}
