//! What one container has open at a time, each thing up to its limit.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Poll, Waker},
    time::Instant,
};

use hulynet_agent_kinds::ContainerLimits;
use hulynet_protocol::{ContainerId, ErrorKind, NetworkError};

use super::{errors::raise, rate::Rate};

/// Something that a container has open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Thing {
    /// A stream, from it or to it.
    Stream,
    /// A timer that it waits for.
    Timer,
    /// A container that it holds.
    Reference,
    /// A request to another container, to its documents or to a host, whose
    /// answer it waits for.
    Request,
    /// A byte of such a request.
    RequestByte,
    /// A byte of an event or a stream that nobody has read yet.
    UnreadByte,
}

/// A call to another container, to documents or to a host, whose answer the
/// container waits for until this is dropped.
#[derive(Debug)]
pub(crate) struct Calling {
    _open: [Open; 2],
}

/// Counts what one container has open.
#[derive(Debug)]
pub(crate) struct Usage {
    container: ContainerId,
    memory: AtomicUsize,
    streams: Count,
    /// Streams of its answers that it writes still and somebody reads.
    read: AtomicUsize,
    timers: Count,
    references: Count,
    requests: Count,
    request_bytes: Count,
    unread_bytes: Count,
    gets: Mutex<Rate>,
    calls: Mutex<Rate>,
    /// Streams that wait for unread bytes to become fewer.
    waiting: Mutex<Vec<Waker>>,
}

#[derive(Debug)]
struct Count {
    used: AtomicUsize,
    limit: usize,
}

/// So many things that are open, until this is dropped.
#[derive(Debug)]
pub(crate) struct Open {
    usage: Arc<Usage>,
    thing: Thing,
    many: usize,
}

/// One end of a stream of its answers. The stream is read until either end is
/// dropped: when all was written, or nobody reads any more.
#[derive(Debug)]
pub(crate) struct Reading {
    usage: Arc<Usage>,
    is_read: Arc<AtomicBool>,
}

impl Usage {
    /// Nothing is open.
    pub(crate) fn new(container: ContainerId, limits: &ContainerLimits) -> Self {
        let count = |limit| Count { used: AtomicUsize::new(0), limit };
        let rate = |limit| Mutex::new(Rate::new(limit, Instant::now()));
        Self {
            container,
            memory: AtomicUsize::new(0),
            streams: count(limits.streams),
            read: AtomicUsize::new(0),
            timers: count(limits.timers),
            references: count(limits.references),
            requests: count(limits.outgoing),
            request_bytes: count(limits.outgoing_bytes),
            unread_bytes: count(limits.unread_bytes),
            gets: rate(limits.gets),
            calls: rate(limits.calls),
            waiting: Mutex::default(),
        }
    }

    /// Opens one more.
    ///
    /// # Errors
    /// `Busy` when as many are open as may be; nothing was done.
    pub(crate) fn open(self: &Arc<Self>, thing: Thing) -> Result<Open, NetworkError> {
        self.open_many(thing, 1)
    }

    /// Opens so many more.
    ///
    /// # Errors
    /// As [`Usage::open`].
    pub(crate) fn open_many(
        self: &Arc<Self>,
        thing: Thing,
        many: usize,
    ) -> Result<Open, NetworkError> {
        let count = self.count(thing);
        let more = |used: usize| used.checked_add(many).filter(|used| *used <= count.limit);
        match count.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_) => Ok(Open { usage: self.clone(), thing, many }),
            Err(_) => Err(self.refusal(thing)),
        }
    }

    /// Opens so many more, even beyond the limit: who asks has them already.
    pub(crate) fn open_anyway(self: &Arc<Self>, thing: Thing, many: usize) -> Open {
        self.count(thing).used.fetch_add(many, Ordering::Relaxed);
        Open { usage: self.clone(), thing, many }
    }

    /// Both ends of a stream of its answers that somebody reads.
    pub(crate) fn reading(self: &Arc<Self>) -> [Reading; 2] {
        self.read.fetch_add(1, Ordering::Relaxed);
        let is_read = Arc::new(AtomicBool::new(true));
        [is_read.clone(), is_read].map(|is_read| Reading { usage: self.clone(), is_read })
    }

    /// Whether somebody reads a stream of its answers that it writes still.
    pub(crate) fn is_read(&self) -> bool {
        self.read.load(Ordering::Relaxed) > 0
    }

    /// It asks for a container.
    ///
    /// # Errors
    /// `Busy` when it does so too often.
    pub(crate) fn get(&self, now: Instant) -> Result<(), NetworkError> {
        self.within(
            &self.gets,
            now,
            "asks for containers more often than it may; hold those that it needs again",
            "gets",
        )
    }

    /// It calls another container, its documents or a host, with so many bytes.
    ///
    /// # Errors
    /// `Busy` when it does so too often, and as [`Usage::open`].
    pub(crate) fn call(
        self: &Arc<Self>,
        now: Instant,
        bytes: usize,
    ) -> Result<Calling, NetworkError> {
        let open = [self.open(Thing::Request)?, self.open_many(Thing::RequestByte, bytes)?];
        self.within(
            &self.calls,
            now,
            "calls others more often than it may; ask for more at a time",
            "calls",
        )?;
        Ok(Calling { _open: open })
    }

    /// It does something of which it may do so much a second.
    fn within(
        &self,
        rate: &Mutex<Rate>,
        now: Instant,
        too_often: &str,
        limit: &str,
    ) -> Result<(), NetworkError> {
        let mut rate = rate.lock().unwrap_or_else(PoisonError::into_inner);
        if !rate.has(now, 1) {
            let text = format!("the container {} {too_often}, or {}", self.container, raise(limit));
            return Err(NetworkError::not_processed(ErrorKind::Busy, text));
        }
        rate.used(1);
        Ok(())
    }

    /// Whether there is room for unread bytes; wakes when there may be.
    pub(crate) fn poll_room(&self, waker: &Waker) -> Poll<()> {
        // Looked at while the list is held, so that nobody makes room between
        // the look and the entry.
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if self.unread_bytes.used.load(Ordering::Acquire) < self.unread_bytes.limit {
            return Poll::Ready(());
        }
        if !waiting.iter().any(|other| other.will_wake(waker)) {
            waiting.push(waker.clone());
        }
        Poll::Pending
    }

    /// How many are open.
    pub(crate) fn used(&self, thing: Thing) -> usize {
        self.count(thing).used.load(Ordering::Relaxed)
    }

    /// Bytes of its memories and tables.
    pub(crate) fn memory(&self) -> usize {
        self.memory.load(Ordering::Relaxed)
    }

    /// Its memories and tables have so many bytes now.
    pub(crate) fn has_memory(&self, bytes: usize) {
        self.memory.store(bytes, Ordering::Relaxed);
    }

    fn count(&self, thing: Thing) -> &Count {
        match thing {
            Thing::Stream => &self.streams,
            Thing::Timer => &self.timers,
            Thing::Reference => &self.references,
            Thing::Request => &self.requests,
            Thing::RequestByte => &self.request_bytes,
            Thing::UnreadByte => &self.unread_bytes,
        }
    }

    fn refusal(&self, thing: Thing) -> NetworkError {
        let most = self.count(thing).limit;
        let (limit, has) = match thing {
            Thing::Stream => ("streams", format!("has {most} streams open")),
            Thing::Timer => ("timers", format!("waits for {most} timers")),
            Thing::Reference => ("references", format!("holds {most} containers")),
            Thing::Request => ("outgoing", format!("waits for {most} answers of others")),
            Thing::RequestByte => {
                ("outgoing-bytes", format!("waits for answers to requests of up to {most} bytes"))
            }
            Thing::UnreadByte => {
                ("unread-bytes", format!("has up to {most} bytes that nobody has read yet"))
            }
        };
        NetworkError::not_processed(
            ErrorKind::Busy,
            format!(
                "the container {} {has}, as many as it may at a time; let some end first, or {}",
                self.container,
                raise(limit)
            ),
        )
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if self.is_read.swap(false, Ordering::Relaxed) {
            self.usage.read.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.usage.count(self.thing).used.fetch_sub(self.many, Ordering::Release);
        if self.thing == Thing::UnreadByte {
            let mut waiting = self.usage.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.drain(..).for_each(Waker::wake);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hulynet_protocol::{Kind, Retry, Uuid};

    use super::*;

    fn usage(limits: &ContainerLimits) -> Arc<Usage> {
        let id = ContainerId { kind: Kind::new("echo").unwrap(), uuid: Uuid::new("a").unwrap() };
        Arc::new(Usage::new(id, limits))
    }

    #[test]
    fn one_too_many_is_refused_until_another_ends() {
        let usage = usage(&ContainerLimits { outgoing: 2, ..ContainerLimits::default() });
        let first = usage.open(Thing::Request).unwrap();
        let _second = usage.open(Thing::Request).unwrap();
        let error = usage.open(Thing::Request).unwrap_err();
        assert_eq!((error.kind, error.retry), (ErrorKind::Busy, Retry::NotProcessed));
        assert!(
            error.message.starts_with("the container echo/a waits for 2 answers of others"),
            "{error}"
        );
        let _another = usage.open(Thing::Stream).unwrap();
        drop(first);
        assert_eq!(usage.used(Thing::Request), 1);
        usage.open(Thing::Request).unwrap();
    }

    #[test]
    fn who_asks_for_containers_again_and_again_is_refused_for_a_while() {
        let usage = usage(&ContainerLimits { gets: 1, ..ContainerLimits::default() });
        let now = Instant::now();
        assert_eq!((0..100).filter(|_| usage.get(now).is_ok()).count(), 10);
        let error = usage.get(now).unwrap_err();
        assert_eq!((error.kind, error.retry), (ErrorKind::Busy, Retry::NotProcessed));
        usage.get(now + Duration::from_secs(2)).unwrap();
    }

    #[test]
    fn who_calls_others_again_and_again_is_refused_for_a_while() {
        let usage = usage(&ContainerLimits { calls: 1, ..ContainerLimits::default() });
        let now = Instant::now();
        assert_eq!((0..100).filter(|_| usage.call(now, 1).is_ok()).count(), 10);
        let error = usage.call(now, 1).unwrap_err();
        assert_eq!((error.kind, error.retry), (ErrorKind::Busy, Retry::NotProcessed));
        let told = "the container echo/a calls others more often than it may";
        assert!(error.message.starts_with(told), "{error}");
        assert_eq!((usage.used(Thing::Request), usage.used(Thing::RequestByte)), (0, 0));
        usage.get(now).unwrap();
        usage.call(now + Duration::from_secs(2), 1).unwrap();
    }

    #[test]
    fn a_stream_is_read_until_either_end_is_gone() {
        let usage = usage(&ContainerLimits::default());
        assert!(!usage.is_read());
        for gone in 0..2 {
            let mut ends = Vec::from(usage.reading());
            assert!(usage.is_read());
            drop(ends.remove(gone));
            assert!(!usage.is_read());
            let _another = usage.reading();
            drop(ends);
            assert!(usage.is_read());
        }
    }

    #[test]
    fn whoever_is_refused_is_told_where_the_limit_is_raised() {
        let none = ContainerLimits { gets: 0, calls: 0, timers: 0, ..ContainerLimits::default() };
        let (usage, now) = (usage(&none), Instant::now());
        let refusals = [
            ("gets", usage.get(now).unwrap_err()),
            ("calls", usage.call(now, 0).unwrap_err()),
            ("timers", usage.open(Thing::Timer).unwrap_err()),
        ];
        for (limit, error) in refusals {
            let told = format!("or {}", raise(limit));
            assert!(error.message.ends_with(&told) && told.contains(limit), "{error}");
        }
    }

    #[test]
    fn many_small_requests_weigh_as_much_as_one_large_one() {
        let usage = usage(&ContainerLimits { outgoing_bytes: 100, ..ContainerLimits::default() });
        let large = usage.open_many(Thing::RequestByte, 90).unwrap();
        let error = usage.open_many(Thing::RequestByte, 11).unwrap_err();
        assert!(error.message.contains("requests of up to 100 bytes"), "{error}");
        drop(large);
        usage.open_many(Thing::RequestByte, 100).unwrap();
        assert!(usage.open_many(Thing::RequestByte, usize::MAX).is_err());
    }

    #[test]
    fn there_is_room_again_when_something_was_read() {
        let usage = usage(&ContainerLimits { unread_bytes: 10, ..ContainerLimits::default() });
        let unread = usage.open_anyway(Thing::UnreadByte, 15);
        assert!(usage.poll_room(Waker::noop()).is_pending());
        assert!(usage.poll_room(Waker::noop()).is_pending());
        assert_eq!(usage.waiting.lock().unwrap().len(), 1, "the same one waits once");
        drop(unread);
        assert!(usage.waiting.lock().unwrap().is_empty());
        assert!(usage.poll_room(Waker::noop()).is_ready());
    }
}
