//! Moves bytes between a checked connection and the ROUTER.
//!
//! All connections of a thread read into one buffer, so a quiet one keeps
//! none. What one side does not take at once waits in a buffer of its own, and
//! nothing is read from the other side meanwhile.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::ready,
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWriteExt, ReadBuf},
    net::{TcpStream, UnixStream, tcp, unix},
    sync::mpsc,
};

use super::link::Link;
use crate::{
    account,
    zmtp::{Command, Limits, Scanner, Step, Violation, pong},
};

/// How much is read at once.
const BUFFER: usize = 64 * 1024;

/// PINGs that may wait for their PONG; more are not answered.
const PINGS: usize = 8;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; BUFFER]);
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error("the server closed it")]
    Closed,
    #[error("the server disconnected it: {0}")]
    Kicked(&'static str),
    #[error("it sent {0}")]
    Hostile(#[from] Violation),
    #[error("messages that were begun on all connections together take too much memory")]
    Unfinished,
    #[error("it broke: {0}")]
    Io(#[from] io::Error),
}

/// What connections may send.
#[derive(Debug)]
pub(super) struct Rules {
    /// Before hello.
    pub(super) strangers: Limits,
    /// After it.
    pub(super) guests: Limits,
    /// The most bytes of messages that have not ended, of all connections.
    pub(super) unfinished: usize,
    /// How many there are now.
    pub(super) begun: AtomicUsize,
}

/// Relays until one side ends. `input` is what the peer sent already.
pub(super) async fn relay(
    peer: TcpStream,
    router: UnixStream,
    input: BytesMut,
    link: &Link,
    rules: &Rules,
) -> End {
    let (peer_read, peer_write) = peer.into_split();
    let (router_read, router_write) = router.into_split();
    let (pings, pongs) = mpsc::channel(PINGS);
    let inward = inward(peer_read, router_write, input, pings, link, rules);
    let outward = outward(router_read, peer_write, pongs, link);
    tokio::pin!(inward, outward);
    let end = tokio::select! {
        end = &mut inward => end,
        end = &mut outward => return end.err().unwrap_or(End::Closed),
        why = link.kicked() => return End::Kicked(why),
    };
    match end {
        // The peer has said all; the ROUTER reads the rest and closes.
        Ok(()) => tokio::select! {
            end = outward => end.err().unwrap_or(End::Closed),
            why = link.kicked() => End::Kicked(why),
        },
        Err(end) => end,
    }
}

/// Takes apart what streams by.
#[derive(Debug)]
struct Filter {
    scanner: Scanner,
    /// The beginning of a frame's header, or of a command.
    held: BytesMut,
}

/// Where the parts go.
trait Parts {
    /// Of messages, as they are.
    fn bytes(&mut self, bytes: &[u8]);
    /// A whole command.
    fn command(&mut self, bytes: &[u8], command: Command);
}

impl Filter {
    fn new(limits: Limits) -> Self {
        Self { scanner: Scanner::new(limits), held: BytesMut::new() }
    }

    fn feed(&mut self, input: &[u8], parts: &mut impl Parts) -> Result<(), Violation> {
        if self.held.is_empty() {
            let used = scan(&mut self.scanner, input, parts)?;
            self.held.extend_from_slice(input.get(used..).unwrap_or_default());
        } else {
            let mut whole = std::mem::take(&mut self.held);
            whole.extend_from_slice(input);
            let used = scan(&mut self.scanner, &whole, parts)?;
            self.held.extend_from_slice(whole.get(used..).unwrap_or_default());
        }
        Ok(())
    }

    fn is_between_messages(&self) -> bool {
        self.held.is_empty() && self.scanner.is_between_messages()
    }
}

/// How much of the input was used.
fn scan(scanner: &mut Scanner, input: &[u8], parts: &mut impl Parts) -> Result<usize, Violation> {
    let (mut from, mut to) = (0, 0);
    loop {
        match scanner.step(input.get(to..).unwrap_or_default())? {
            Step::Pass(length) => to += length,
            Step::LeaveOut(length, instead) => {
                parts.bytes(input.get(from..to).unwrap_or_default());
                parts.bytes(instead.as_ref().map_or(&[], |instead| &instead[..]));
                to += length;
                from = to;
            }
            Step::Command(length, command) => {
                parts.bytes(input.get(from..to).unwrap_or_default());
                parts.command(input.get(to..to + length).unwrap_or_default(), command);
                to += length;
                from = to;
            }
            Step::Starved => {
                parts.bytes(input.get(from..to).unwrap_or_default());
                return Ok(to);
            }
        }
    }
}

/// The half of a stream that can be written to without waiting.
trait TryWrite {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize>;
}

impl TryWrite for tcp::OwnedWriteHalf {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        Self::try_write(self, bytes)
    }
}

impl TryWrite for unix::OwnedWriteHalf {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        Self::try_write(self, bytes)
    }
}

/// Writes what is taken at once and keeps the rest.
fn put(to: &impl TryWrite, rest: &mut BytesMut, bytes: &[u8]) -> io::Result<()> {
    let mut written = 0;
    while rest.is_empty() && written < bytes.len() {
        match to.try_write(bytes.get(written..).unwrap_or_default()) {
            Ok(some) => written += some,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    rest.extend_from_slice(bytes.get(written..).unwrap_or_default());
    Ok(())
}

/// Reads once into the thread's buffer and hands it over; how much it was.
async fn read<R: AsyncRead + Unpin>(
    from: &mut R,
    mut handle: impl FnMut(&[u8]) -> Result<(), End>,
) -> Result<usize, End> {
    poll_fn(|context| {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(Pin::new(&mut *from).poll_read(context, &mut buffer))?;
            let input = buffer.filled();
            if !input.is_empty() {
                handle(input)?;
            }
            Ok(input.len()).into()
        })
    })
    .await
}

/// To the ROUTER, without commands; PINGs go to the other direction.
struct ToRouter<'relay> {
    to: &'relay unix::OwnedWriteHalf,
    rest: &'relay mut BytesMut,
    pings: &'relay mpsc::Sender<Bytes>,
    error: Option<io::Error>,
}

impl Parts for ToRouter<'_> {
    fn bytes(&mut self, bytes: &[u8]) {
        if let Err(error) = put(self.to, self.rest, bytes) {
            self.error = Some(error);
        }
    }

    fn command(&mut self, _bytes: &[u8], command: Command) {
        if let Command::Ping(context) = command {
            // Over the bound a PING stays unanswered.
            let _full = self.pings.try_send(context);
        }
    }
}

/// Counts the bytes of messages that have not ended.
struct Begun<'door>(&'door AtomicUsize, usize);

impl Begun<'_> {
    /// How many there are of all connections.
    fn set(&mut self, now: usize) -> usize {
        let before = self.0.fetch_add(now, Ordering::Relaxed);
        self.0.fetch_sub(self.1, Ordering::Relaxed);
        let all = (before + now).saturating_sub(self.1);
        self.1 = now;
        all
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// From the peer to the ROUTER; ends well when the peer closes.
async fn inward(
    mut from: tcp::OwnedReadHalf,
    mut to: unix::OwnedWriteHalf,
    input: BytesMut,
    pings: mpsc::Sender<Bytes>,
    link: &Link,
    rules: &Rules,
) -> Result<(), End> {
    let mut filter = Filter::new(rules.strangers);
    let mut is_guest = false;
    let mut begun = Begun(&rules.begun, 0);
    let mut rest = BytesMut::new();
    let mut first = Some(input).filter(|input| !input.is_empty());
    loop {
        let handle = |input: &[u8]| {
            if !is_guest && link.is_greeted() {
                is_guest = true;
                filter.scanner.limit(rules.guests);
            }
            let mut parts = ToRouter { to: &to, rest: &mut rest, pings: &pings, error: None };
            filter.feed(input, &mut parts)?;
            if let Some(error) = parts.error {
                return Err(error.into());
            }
            let unfinished = filter.scanner.unfinished();
            if begun.set(unfinished) > rules.unfinished && unfinished > 0 {
                return Err(End::Unfinished);
            }
            Ok(())
        };
        let length = match first.take() {
            Some(input) => {
                let mut handle = handle;
                handle(&input).map(|()| input.len())?
            }
            None => read(&mut from, handle).await?,
        };
        if length == 0 {
            to.shutdown().await?;
            return Ok(());
        }
        link.hear();
        flush(&mut to, &mut rest).await?;
    }
}

async fn flush<W: tokio::io::AsyncWrite + Unpin>(
    to: &mut W,
    rest: &mut BytesMut,
) -> io::Result<()> {
    if !rest.is_empty() {
        to.write_all_buf(rest).await?;
        // A quiet connection keeps no buffer.
        *rest = BytesMut::new();
    }
    Ok(())
}

/// To the peer, as it is.
struct ToPeer<'relay> {
    to: &'relay tcp::OwnedWriteHalf,
    rest: &'relay mut BytesMut,
    passed: usize,
    is_ready: &'relay mut bool,
    error: Option<io::Error>,
}

impl Parts for ToPeer<'_> {
    fn bytes(&mut self, bytes: &[u8]) {
        self.passed += bytes.len();
        if let Err(error) = put(self.to, self.rest, bytes) {
            self.error = Some(error);
        }
    }

    fn command(&mut self, bytes: &[u8], _command: Command) {
        *self.is_ready = true;
        self.bytes(bytes);
        // Nobody counted it.
        self.passed -= bytes.len();
    }
}

/// From the ROUTER to the peer; ends well when the ROUTER closes.
async fn outward(
    mut from: unix::OwnedReadHalf,
    mut to: tcp::OwnedWriteHalf,
    mut pongs: mpsc::Receiver<Bytes>,
    link: &Link,
) -> Result<(), End> {
    let mut filter = Filter::new(Limits::NONE);
    let mut rest = BytesMut::new();
    let mut is_ready = false;
    loop {
        // READY is the first command, and nothing may come before it.
        let is_whole = is_ready && filter.is_between_messages();
        let mut cost = 0;
        let handle = |input: &[u8]| {
            let mut parts = ToPeer {
                to: &to,
                rest: &mut rest,
                passed: 0,
                is_ready: &mut is_ready,
                error: None,
            };
            filter.feed(input, &mut parts)?;
            cost = parts.passed;
            parts.error.map_or(Ok(()), |error| Err(error.into()))
        };
        let read = tokio::select! {
            read = read(&mut from, handle) => read?,
            Some(context) = pongs.recv(), if is_whole => {
                link.stalls(true);
                to.write_all(&pong(&context)).await?;
                link.stalls(false);
                continue;
            }
        };
        if read == 0 {
            return Ok(());
        }
        if !rest.is_empty() {
            while !rest.is_empty() {
                link.stalls(true);
                to.write_buf(&mut rest).await?;
            }
            link.stalls(false);
            rest = BytesMut::new();
        }
        link.account.sub(cost + filter.scanner.take_messages() * account::MESSAGE);
    }
}

/// The rules with nothing begun.
impl Rules {
    pub(super) fn new(strangers: Limits, guests: Limits, unfinished: usize) -> Arc<Self> {
        Arc::new(Self { strangers, guests, unfinished, begun: AtomicUsize::new(0) })
    }
}
