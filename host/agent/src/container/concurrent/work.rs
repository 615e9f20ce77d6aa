//! What a container works on: it takes what waits in its mailbox, and several
//! calls are in progress at a time.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use futures::FutureExt;
use hulynet_agent_kinds::ContainerLimits;
use tokio::time::{Sleep, sleep_until};
use wasmtime::AsContextMut;

use super::{
    Access, Exports,
    awake::Awake,
    call::{self, Done},
    calls::{Call, Calls},
};
use crate::container::{
    Ending, STUCK,
    handle::Shared,
    mailbox::{Inbox, Letter, Message},
    supervisor::Pulse,
};

/// Called after the look at what there is to do, before anything enters the
/// container: it has given control back, so its time begins anew. It is waited
/// for until `awaited`; who reads a stream of its answers named no deadline, so while
/// somebody does, none is known.
pub(super) fn enter(access: &Access, awaited: Option<Instant>) {
    access.with(|mut access| {
        let context = access.get();
        let is_read = context.usage.is_read();
        context.meter.pause(if is_read { None } else { awaited });
        access.as_context_mut().set_epoch_deadline(1);
    });
}

/// What a container that has started works on.
pub(super) struct Work<'a> {
    access: &'a Access,
    exports: &'a Exports,
    limits: &'a ContainerLimits,
    shared: &'a Arc<Shared>,
    pulse: &'a Pulse,
    awake: &'a Awake,
    calls: Calls<'a>,
    full: Full,
}

impl<'a> Work<'a> {
    pub(super) fn new(
        access: &'a Access,
        exports: &'a Exports,
        limits: &'a ContainerLimits,
        shared: &'a Arc<Shared>,
        pulse: &'a Pulse,
        awake: &'a Awake,
    ) -> Self {
        let (calls, full) = (Calls::default(), Full::No);
        Self { access, exports, limits, shared, pulse, awake, calls, full }
    }

    /// Ends when the container does.
    pub(super) async fn run(mut self, inbox: &mut Inbox) -> wasmtime::Result<Ending> {
        std::future::poll_fn(|cx| self.poll(inbox, cx)).await
    }

    fn poll(&mut self, inbox: &mut Inbox, cx: &mut Context<'_>) -> Poll<wasmtime::Result<Ending>> {
        self.awake.look();
        let mut began = false;
        loop {
            let before = self.calls.len();
            while let Poll::Ready(Some(done)) = self.calls.poll_next(cx) {
                if let Some(ending) = self.done(done?) {
                    return Poll::Ready(Ok(ending));
                }
            }
            // One that was begun is worked on before the next letter is opened:
            // most are done at once and never have others beside them.
            if began && self.calls.len() == before {
                break;
            }
            let Poll::Ready(letter) = inbox.poll(self.has_room(), cx) else { break };
            match self.begin(letter) {
                Some((call, until)) => self.calls.push(call, until),
                None => return Poll::Ready(Ok(Ending::Terminated)),
            }
            began = true;
        }
        if began || inbox.gives_way() {
            self.awake.leaves();
        }
        let awaited = self.calls.awaited();
        enter(self.access, awaited);
        self.full.look(self.has_room(), awaited, cx).map(|()| {
            Ok(Ending::Unhealthy(format!(
                "it did not finish any of {} calls, and nobody waits for them any more",
                self.calls.len()
            )))
        })
    }

    fn has_room(&self) -> bool {
        self.calls.len() < self.limits.concurrent
    }

    /// The call that a letter asks for, and until when it is waited for, if any.
    fn begin(&self, letter: Letter) -> Option<(Call<'a>, Instant)> {
        let (access, exports, limits) = (self.access, self.exports, self.limits);
        Some(match letter {
            Letter::Terminate(order) => {
                let until = Instant::now() + limits.terminate;
                (call::terminate(access, exports, order).boxed(), until)
            }
            Letter::Disconnect(client) => {
                let until = Instant::now() + limits.request;
                (call::disconnect(access, exports, client).boxed(), until)
            }
            Letter::Ping => (call::ping(access, exports).boxed(), Instant::now() + limits.ping),
            Letter::Abandoned => return None,
            Letter::Message(message) => match *message {
                Message::Request { incoming, weight, reply } => {
                    let (limit, shared) = (limits.reply_bytes, self.shared.clone());
                    let until = incoming.deadline;
                    let asked =
                        call::request(access, exports, limit, incoming, weight, reply, shared);
                    (asked.boxed(), until)
                }
                Message::Connect { connection, caller, deadline, reply } => {
                    let connections = &self.shared.connections;
                    let asked =
                        call::connect(access, exports, connections, connection, caller, reply);
                    (asked.boxed(), deadline)
                }
            },
        })
    }

    fn done(&mut self, done: Done) -> Option<Ending> {
        if self.has_room() {
            self.full = Full::No;
        }
        match done {
            Done::Served => self.pulse.vitals().sign(Instant::now()),
            Done::Well => self.pulse.well(),
            Done::Unwell(cause) => return Some(Ending::Unhealthy(cause)),
            Done::Ended => return Some(Ending::Terminated),
        }
        None
    }
}

/// Whether a container has room for more calls. One that is full of calls that
/// never end serves nobody, but may still answer pings; it is over a while
/// after the last of their callers gave up.
enum Full {
    No,
    /// It was at the last look. Most calls are done at the next one, which
    /// saves the timer.
    Seen,
    Since(Pin<Box<Sleep>>),
}

impl Full {
    /// Ends when the container is given up.
    fn look(&mut self, room: bool, awaited: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
        *self = match std::mem::replace(self, Self::No) {
            _ if room => Self::No,
            Self::No => Self::Seen,
            Self::Seen => {
                let last = awaited.unwrap_or_else(Instant::now);
                Self::Since(Box::pin(sleep_until((last + STUCK).into())))
            }
            since @ Self::Since(_) => since,
        };
        match self {
            Self::No | Self::Seen => Poll::Pending,
            Self::Since(over) => over.as_mut().poll(cx),
        }
    }
}
