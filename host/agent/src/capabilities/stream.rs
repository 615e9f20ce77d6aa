//! Streams between containers and the network.
//!
//! The receiver's pace holds the sender back: the host takes an item from a
//! container only when there is room for it, in its stream and among all that
//! nobody has read yet, and takes one from the network only when the container
//! reads.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context as TaskContext, Poll},
};

use bytes::Bytes;
use futures::{Stream, StreamExt, channel::mpsc, future, stream};
use hulynet_protocol::{ErrorKind, NetworkError, Retry};
use wasmtime::{
    AsContextMut, StoreContextMut,
    component::{Destination, Source, StreamConsumer, StreamProducer, StreamReader, StreamResult},
};

use super::{
    Context, from_guest,
    usage::{Open, Reading, Thing, Usage},
};
use crate::{bindings::huly::network::common::Error, network::Chunks};

/// Chunks that wait between a container and the bus.
const CHUNKS: usize = 16;

type Item = Result<Vec<u8>, Error>;

/// Gives the items of a stream to a container.
pub(crate) struct Producer<T> {
    items: Pin<Box<dyn Stream<Item = T> + Send>>,
    _open: Open,
}

impl<T> Producer<T> {
    /// `open` is held until the stream ends.
    pub(crate) fn new(items: impl Stream<Item = T> + Send + 'static, open: Open) -> Self {
        Self { items: Box::pin(items), _open: open }
    }
}

impl<T: Send + Sync + 'static> StreamProducer<Context> for Producer<T> {
    type Item = T;
    type Buffer = Option<T>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        store: StoreContextMut<'a, Context>,
        mut destination: Destination<'a, T, Option<T>>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        if destination.remaining(store) == Some(0) {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        match self.items.poll_next_unpin(cx) {
            Poll::Ready(Some(item)) => {
                destination.set_buffer(Some(item));
                Poll::Ready(Ok(StreamResult::Completed))
            }
            Poll::Ready(None) => Poll::Ready(Ok(StreamResult::Dropped)),
            Poll::Pending if finish => Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Takes the chunks of an answer from a container.
///
/// `ended` is set when the container ended before its answer did: the stream
/// then ends with the error that `broke_off` gives, instead of looking complete.
///
/// # Errors
/// Inside, `Busy` when the container has too many streams open.
pub(crate) fn read_chunks(
    mut store: impl AsContextMut<Data = Context>,
    mut reader: StreamReader<Item>,
    ended: Arc<AtomicBool>,
    broke_off: impl Future<Output = NetworkError> + Send + 'static,
) -> wasmtime::Result<Result<Chunks, NetworkError>> {
    let store = store.as_context_mut();
    let context = store.data();
    let limit = context.limits().reply_bytes;
    let usage = &context.usage;
    let open = match usage.open(Thing::Stream) {
        Ok(open) => open,
        Err(error) => {
            reader.close(store)?;
            return Ok(Err(NetworkError { retry: Retry::MaybeProcessed, ..error }));
        }
    };
    let [written, read] = usage.reading();
    let (sender, receiver) = mpsc::channel(CHUNKS);
    let complete = Arc::new(AtomicBool::new(false));
    let consumer = Consumer {
        sender,
        limit,
        usage: usage.clone(),
        ended,
        complete: complete.clone(),
        _open: open,
        _written: written,
    };
    reader.pipe(store, consumer)?;
    let receiver = receiver.map(move |Unread { chunk, .. }| {
        // Also when nothing comes for long: until the reader is gone.
        let _read = &read;
        chunk
    });
    let end = stream::once(async move {
        let complete = complete.load(Ordering::Acquire);
        if complete { None } else { Some(Err(broke_off.await)) }
    });
    Ok(Ok(Box::pin(receiver.chain(end.filter_map(future::ready)))))
}

/// A chunk that nobody has read yet.
struct Unread {
    chunk: Result<Bytes, NetworkError>,
    _open: Open,
}

struct Consumer {
    sender: mpsc::Sender<Unread>,
    limit: usize,
    usage: Arc<Usage>,
    ended: Arc<AtomicBool>,
    complete: Arc<AtomicBool>,
    _open: Open,
    _written: Reading,
}

impl StreamConsumer<Context> for Consumer {
    type Item = Item;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        mut store: StoreContextMut<Context>,
        mut source: Source<'_, Item>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let room = match self.sender.poll_ready(cx) {
            Poll::Ready(Ok(())) => self.usage.poll_room(cx.waker()),
            Poll::Ready(Err(_)) => return Poll::Ready(Ok(StreamResult::Dropped)),
            Poll::Pending => Poll::Pending,
        };
        match room {
            Poll::Ready(()) => {}
            Poll::Pending if finish => return Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => return Poll::Pending,
        }
        if source.remaining(store.as_context_mut()) == 0 {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        let mut item = None;
        source.read(store, &mut item)?;
        let Some(item) = item else { return Poll::Ready(Ok(StreamResult::Completed)) };
        let chunk = check(item, self.limit);
        let last = chunk.is_err();
        let bytes = chunk.as_ref().map_or(0, Bytes::len);
        let open = self.usage.open_anyway(Thing::UnreadByte, bytes);
        let gone = self.sender.start_send(Unread { chunk, _open: open }).is_err();
        let result = if last || gone { StreamResult::Dropped } else { StreamResult::Completed };
        Poll::Ready(Ok(result))
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let complete = !self.ended.load(Ordering::Acquire);
        self.complete.store(complete, Ordering::Release);
    }
}

fn check(item: Item, limit: usize) -> Result<Bytes, NetworkError> {
    let chunk = Bytes::from(item.map_err(from_guest)?);
    if chunk.len() > limit {
        return Err(NetworkError::refused(
            ErrorKind::TooLarge,
            format!("a chunk of {} bytes; at most {limit} are allowed", chunk.len()),
        ));
    }
    Ok(chunk)
}
