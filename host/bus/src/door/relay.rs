//! Moves bytes between a checked connection and the ROUTER.

use std::{io, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream, tcp, unix},
    sync::mpsc,
    time::timeout,
};

use super::{
    link::Link,
    scan::{Command, Limits, Scanner, Step, Violation, pong},
};
use crate::account;

/// How much is read at once; also what a quiet connection keeps.
const BUFFER: usize = 16 * 1024;

/// PINGs that may wait for their PONG; more are not answered.
const PINGS: usize = 8;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error("the server closed it")]
    Closed,
    #[error("the server disconnected it")]
    Kicked,
    #[error("it sent {0}")]
    Hostile(#[from] Violation),
    #[error("it sent nothing for {0:?}")]
    Idle(Duration),
    #[error("it took nothing for {0:?}")]
    Stalled(Duration),
    #[error("it broke: {0}")]
    Io(#[from] io::Error),
}

/// The patience with a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) idle: Duration,
    pub(super) stall: Duration,
}

/// Relays until one side ends. `input` is what the peer sent already.
pub(super) async fn relay(
    peer: TcpStream,
    router: UnixStream,
    input: BytesMut,
    link: &Link,
    limits: Limits,
    patience: Patience,
) -> End {
    let (peer_read, peer_write) = peer.into_split();
    let (router_read, router_write) = router.into_split();
    let (pings, pongs) = mpsc::channel(PINGS);
    let scanner = Scanner::new(limits);
    let inward = inward(peer_read, router_write, input, scanner, pings, patience.idle);
    let outward = outward(router_read, peer_write, pongs, link, patience.stall);
    tokio::pin!(inward, outward);
    let end = tokio::select! {
        end = &mut inward => end,
        end = &mut outward => return end.err().unwrap_or(End::Closed),
        () = link.kicked.notified() => return End::Kicked,
    };
    match end {
        // The peer has said all; the ROUTER reads the rest and closes.
        Ok(()) => match timeout(patience.stall, outward).await {
            Ok(end) => end.err().unwrap_or(End::Closed),
            Err(_elapsed) => End::Stalled(patience.stall),
        },
        Err(end) => end,
    }
}

/// From the peer to the ROUTER; ends well when the peer closes.
async fn inward(
    mut from: tcp::OwnedReadHalf,
    mut to: unix::OwnedWriteHalf,
    mut input: BytesMut,
    mut scanner: Scanner,
    pings: mpsc::Sender<Bytes>,
    idle: Duration,
) -> Result<(), End> {
    loop {
        let mut passed = 0;
        loop {
            match scanner.step(input.get(passed..).unwrap_or_default())? {
                Step::Pass(length) => passed += length,
                Step::Starved => break,
                Step::Command(length, command) => {
                    to.write_all_buf(&mut input.split_to(passed)).await?;
                    input.advance(length);
                    passed = 0;
                    if let Command::Ping(context) = command {
                        // Over the bound a PING stays unanswered.
                        let _full = pings.try_send(context);
                    }
                }
            }
        }
        to.write_all_buf(&mut input.split_to(passed)).await?;
        input.reserve(BUFFER);
        match timeout(idle, from.read_buf(&mut input)).await {
            Ok(Ok(0)) => {
                to.shutdown().await?;
                return Ok(());
            }
            Ok(read) => read?,
            Err(_elapsed) => return Err(End::Idle(idle)),
        };
    }
}

/// From the ROUTER to the peer; ends well when the ROUTER closes.
async fn outward(
    mut from: unix::OwnedReadHalf,
    mut to: tcp::OwnedWriteHalf,
    mut pongs: mpsc::Receiver<Bytes>,
    link: &Link,
    stall: Duration,
) -> Result<(), End> {
    let mut scanner = Scanner::new(Limits::NONE);
    let mut buffer = BytesMut::with_capacity(BUFFER);
    let mut is_ready = false;
    loop {
        buffer.reserve(BUFFER);
        // READY is the first command, and nothing may come before it.
        let is_whole = is_ready && scanner.is_between_messages() && buffer.is_empty();
        let read = tokio::select! {
            read = from.read_buf(&mut buffer) => read?,
            Some(context) = pongs.recv(), if is_whole => {
                write(&mut to, Bytes::from(pong(&context)), stall).await?;
                continue;
            }
        };
        if read == 0 {
            return Ok(());
        }
        let (mut passed, mut commands) = (0, 0);
        loop {
            match scanner.step(buffer.get(passed..).unwrap_or_default())? {
                Step::Pass(length) => passed += length,
                Step::Command(length, _) => {
                    passed += length;
                    commands += length;
                    is_ready = true;
                }
                Step::Starved => break,
            }
        }
        let cost = passed - commands + scanner.take_messages() * account::MESSAGE;
        write(&mut to, buffer.split_to(passed).freeze(), stall).await?;
        link.account.sub(cost);
    }
}

/// Writes all, unless the peer takes nothing for too long.
async fn write(to: &mut tcp::OwnedWriteHalf, mut bytes: Bytes, stall: Duration) -> Result<(), End> {
    while !bytes.is_empty() {
        match timeout(stall, to.write_buf(&mut bytes)).await {
            Ok(Ok(0)) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
            Ok(written) => written?,
            Err(_elapsed) => return Err(End::Stalled(stall)),
        };
    }
    Ok(())
}
