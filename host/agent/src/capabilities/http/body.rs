//! Bodies that end at their limits.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep_until};
use wasmtime_wasi_http::Error;

use crate::capabilities::usage::Calling;

/// A body of at most so many bytes.
pub(super) struct Bounded<B> {
    body: B,
    left: usize,
    /// What a larger one is answered with.
    too_large: fn(Option<u64>) -> Error,
    limit: usize,
}

impl<B> Bounded<B> {
    pub(super) fn new(body: B, limit: usize, too_large: fn(Option<u64>) -> Error) -> Self {
        Self { body, left: limit, too_large, limit }
    }
}

impl<B: Body<Data = Bytes, Error = Error> + Unpin> Body for Bounded<B> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)?) else {
            return Poll::Ready(None);
        };
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        Poll::Ready(Some(match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Ok(frame)
            }
            None => Err((self.too_large)(u64::try_from(self.limit).ok())),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer, which ends in time, and until then counts as a
/// request that is waited for.
pub(super) struct Timed<B> {
    body: B,
    until: Instant,
    /// The longest time between two pieces.
    pause: Option<Duration>,
    timer: Pin<Box<Sleep>>,
    _calling: Calling,
}

impl<B> Timed<B> {
    pub(super) fn new(body: B, until: Instant, pause: Option<Duration>, calling: Calling) -> Self {
        let timer = Box::pin(sleep_until(next(until, pause).into()));
        Self { body, until, pause, timer, _calling: calling }
    }
}

impl<B: Body<Data = Bytes, Error = Error> + Unpin> Body for Timed<B> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            let by = next(self.until, self.pause);
            self.timer.as_mut().reset(by.into());
            return Poll::Ready(frame);
        }
        ready!(self.timer.as_mut().poll(cx));
        Poll::Ready(Some(Err(Error::HttpResponseTimeout)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// When the next piece must have come.
fn next(until: Instant, pause: Option<Duration>) -> Instant {
    pause.and_then(|pause| Instant::now().checked_add(pause)).map_or(until, |by| by.min(until))
}
