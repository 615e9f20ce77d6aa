//! Answers of many values: one JSON text a line, so that where chunks end does
//! not matter and people can read it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::{Stream, StreamExt, stream};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use crate::answer::{PAYLOAD_BYTES, too_large};
use crate::send::BoxStream;
use crate::{Chunks, Error, MaybeSend, Result};

/// A stream of values, as the result of an operation and as what its client
/// gets. On the wire every value is one line of JSON.
///
/// It does not borrow from the container: an operation's lock is given back
/// when it returns the stream, not when the stream ends.
pub struct Items<T>(BoxStream<Result<T>>);

impl<T: MaybeSend + 'static> Items<T> {
    /// From a stream; it ends with its first error.
    pub fn new(stream: impl Stream<Item = Result<T>> + MaybeSend + 'static) -> Self {
        Self(Box::pin(stream))
    }

    /// From values that are there.
    pub fn of<I>(values: I) -> Self
    where
        I: IntoIterator<Item = T>,
        I::IntoIter: MaybeSend + 'static,
    {
        Self::new(stream::iter(values.into_iter().map(Ok)))
    }

    /// From a future that sends them one by one:
    /// `Items::produce(|sender| async move { sender.send(1).await?; Ok(()) })`.
    /// It runs while the stream is read, and its error ends the stream.
    pub fn produce<F>(producer: impl FnOnce(Sender<T>) -> F) -> Self
    where
        F: Future<Output = Result<()>> + MaybeSend + 'static,
    {
        let (sender, mut receiver) = mpsc::channel(1);
        let mut producer = Some(Box::pin(producer(Sender(sender))));
        let mut failure = None;
        Self::new(stream::poll_fn(move |context| {
            loop {
                match receiver.poll_recv(context) {
                    Poll::Ready(Some(value)) => return Poll::Ready(Some(Ok(value))),
                    Poll::Ready(None) => return Poll::Ready(failure.take().map(Err)),
                    Poll::Pending => {}
                }
                let Some(running) = producer.as_mut() else { return Poll::Pending };
                let Poll::Ready(end) = running.as_mut().poll(context) else { return Poll::Pending };
                failure = end.err();
                producer = None;
            }
        }))
    }
}

impl<T> Stream for Items<T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(context)
    }
}

impl<T> std::fmt::Debug for Items<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Items")
    }
}

/// Where the producer of [`Items::produce`] puts its values.
pub struct Sender<T>(mpsc::Sender<T>);

impl<T> Sender<T> {
    /// Sends one; waits until the reader takes the one before.
    ///
    /// # Errors
    /// When the reader is gone; then there is nothing left to do.
    pub async fn send(&self, value: T) -> Result<()> {
        self.0.send(value).await.map_err(|_| Error::application("the reader of the stream is gone"))
    }
}

impl<T: Serialize + 'static> From<Items<T>> for Chunks {
    fn from(items: Items<T>) -> Self {
        Self::new(items.map(|item| {
            let mut line = serde_json::to_vec(&item?)?;
            line.push(b'\n');
            Ok(line)
        }))
    }
}

impl<T: DeserializeOwned + MaybeSend + 'static> From<Chunks> for Items<T> {
    fn from(chunks: Chunks) -> Self {
        let lines = Lines { chunks, bytes: Vec::new(), searched: 0, ended: false };
        Self::new(stream::unfold(lines, |mut lines| async {
            let line = lines.next().await?;
            let item = line.and_then(|line| {
                serde_json::from_slice(&line).map_err(|cause| {
                    Error::protocol(format!("an item is not what the operation promises: {cause}"))
                })
            });
            lines.ended |= item.is_err();
            Some((item, lines))
        }))
    }
}

/// Puts lines together from chunks.
struct Lines {
    chunks: Chunks,
    bytes: Vec<u8>,
    /// How far the bytes are known to hold no end of line.
    searched: usize,
    ended: bool,
}

impl Lines {
    async fn next(&mut self) -> Option<Result<Vec<u8>>> {
        while !self.ended {
            let fresh = self.bytes.get(self.searched..).unwrap_or_default();
            if let Some(end) = fresh.iter().position(|byte| *byte == b'\n') {
                let rest = self.bytes.split_off(self.searched + end + 1);
                self.searched = 0;
                return Some(Ok(std::mem::replace(&mut self.bytes, rest)));
            }
            self.searched = self.bytes.len();
            if self.searched > PAYLOAD_BYTES {
                return Some(Err(too_large("an item")));
            }
            match self.chunks.next().await {
                Some(Ok(chunk)) => self.bytes.extend(chunk),
                Some(Err(error)) => return Some(Err(error)),
                None => {
                    self.ended = true;
                    let last = std::mem::take(&mut self.bytes);
                    return (!last.is_empty()).then_some(Ok(last));
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(pieces: &'static [&'static str]) -> Chunks {
        Chunks::new(stream::iter(pieces.iter().map(|piece| Ok(piece.as_bytes().to_vec()))))
    }

    async fn read(chunks: Chunks) -> Vec<Result<u32>> {
        Items::<u32>::from(chunks).collect().await
    }

    #[tokio::test]
    async fn items_survive_any_cut_into_chunks() {
        let expected: Vec<Result<u32>> = vec![Ok(1), Ok(22), Ok(333)];
        assert_eq!(read(Items::of([1_u32, 22, 333]).into()).await, expected);
        assert_eq!(read(chunks(&["1\n22\n333\n"])).await, expected);
        assert_eq!(read(chunks(&["1", "\n", "2", "2\n33", "3"])).await, expected);
        assert_eq!(read(chunks(&[])).await, []);
    }

    #[tokio::test]
    async fn a_wrong_item_ends_the_stream_with_an_error() {
        let items = read(chunks(&["1\n\"x\"\n3\n"])).await;
        assert_eq!(items.len(), 2);
        assert!(items[1].as_ref().unwrap_err().message.contains("expected u32"));
    }

    #[tokio::test]
    async fn what_a_producer_sends_comes_in_order_and_its_error_last() {
        let items = Items::produce(|sender| async move {
            for value in 0..5_u32 {
                sender.send(value).await?;
            }
            Err("no more".into())
        });
        let items = read(items.into()).await;
        assert_eq!(items.len(), 6);
        assert!(items[..5].iter().cloned().eq((0..5).map(Ok)));
        assert_eq!(items[5], Err("no more".into()));
    }

    #[tokio::test]
    async fn a_producer_stops_with_its_reader() {
        let (told, mut ended) = mpsc::channel(1);
        let mut items = Items::produce(|sender| async move {
            let mut value = 0_u32;
            while sender.send(value).await.is_ok() {
                value += 1;
            }
            drop(told);
            Ok(())
        });
        assert_eq!(items.next().await, Some(Ok(0)));
        drop(items);
        assert_eq!(ended.recv().await, None::<()>);
    }
}
