//! Calls in progress, and until when somebody waits for one of them.

use std::{
    collections::BTreeMap,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};

use super::call::Done;

/// A call that was begun.
pub(super) type Call<'a> = BoxFuture<'a, wasmtime::Result<Done>>;

/// A call, and until when it is waited for.
struct Waited<'a> {
    call: Call<'a>,
    until: Instant,
}

impl Future for Waited<'_> {
    type Output = (Instant, wasmtime::Result<Done>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let until = self.until;
        self.call.poll_unpin(cx).map(|done| (until, done))
    }
}

/// Usually there is one, which needs no list.
#[derive(Default)]
pub(super) struct Calls<'a> {
    only: Option<Waited<'a>>,
    others: FuturesUnordered<Waited<'a>>,
    /// How many of the others are waited for until when.
    until: BTreeMap<Instant, usize>,
}

impl<'a> Calls<'a> {
    pub(super) fn len(&self) -> usize {
        usize::from(self.only.is_some()) + self.others.len()
    }

    /// Adds one that is waited for until then.
    pub(super) fn push(&mut self, call: Call<'a>, until: Instant) {
        let waited = Waited { call, until };
        if self.len() == 0 {
            self.only = Some(waited);
        } else {
            *self.until.entry(until).or_default() += 1;
            self.others.push(waited);
        }
    }

    /// Until when the last of them is waited for; `None` when there is none.
    pub(super) fn awaited(&self) -> Option<Instant> {
        let only = self.only.as_ref().map(|only| only.until);
        only.max(self.until.last_key_value().map(|(until, _)| *until))
    }

    /// The next one that is done; `None` when there are no others.
    pub(super) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<wasmtime::Result<Done>>> {
        if let Some(only) = &mut self.only
            && let Poll::Ready((_, done)) = only.poll_unpin(cx)
        {
            self.only = None;
            return Poll::Ready(Some(done));
        }
        if self.others.is_empty() {
            return Poll::Pending;
        }
        self.others.poll_next_unpin(cx).map(|next| {
            let (until, done) = next?;
            if let Some(count) = self.until.get_mut(&until) {
                *count -= 1;
                if *count == 0 {
                    self.until.remove(&until);
                }
            }
            Some(done)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::{
        channel::oneshot,
        future::{pending, ready},
        task::noop_waker_ref,
    };

    use super::*;

    /// A call that is done when that is sent.
    fn call() -> (oneshot::Sender<()>, Call<'static>) {
        let (done, told) = oneshot::channel::<()>();
        (done, told.map(|_| Ok(Done::Served)).boxed())
    }

    fn next(calls: &mut Calls<'_>) -> bool {
        let next = calls.poll_next(&mut Context::from_waker(noop_waker_ref()));
        matches!(next, Poll::Ready(Some(Ok(Done::Served))))
    }

    #[test]
    fn one_that_is_done_is_waited_for_no_more() {
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        let mut calls = Calls::default();
        assert_eq!(calls.awaited(), None);
        let begun = [1, 9, 9, 5].map(|until| {
            let (done, call) = call();
            calls.push(call, after(until));
            done
        });
        assert_eq!((calls.len(), calls.awaited()), (4, Some(after(9))));
        let [first, others @ ..] = begun;
        let left = [Some(9), Some(5), Some(1), None].map(|until| until.map(after));
        for (done, left) in others.into_iter().chain([first]).zip(left) {
            assert!(!next(&mut calls));
            done.send(()).unwrap();
            assert!(next(&mut calls));
            assert_eq!(calls.awaited(), left);
        }
        assert_eq!(calls.len(), 0);
    }

    #[test]
    fn the_only_one_does_not_hide_the_others() {
        let mut calls = Calls::default();
        calls.push(pending().boxed(), Instant::now());
        calls.push(ready(Ok(Done::Served)).boxed(), Instant::now());
        assert!(next(&mut calls));
        assert_eq!(calls.len(), 1);
    }
}
