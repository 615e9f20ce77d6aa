//! Lets connections in.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    sync::oneshot,
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

use super::{
    handshake::{GREETING, HandshakeError, greeting, shake},
    link::{Link, Links},
    relay::{Patience, relay},
    scan::Limits,
};
use crate::config::DoorConfig;

/// The pause after the first failed accept; it doubles up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A running acceptor and its connections; dropping it ends them.
#[derive(Debug)]
pub(crate) struct Door {
    links: Arc<Links>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Door {
    /// Accepts from `listener` for the ROUTER at the unix socket `router`.
    pub(crate) fn open(listener: TcpListener, router: PathBuf, config: DoorConfig) -> Self {
        let links = Arc::new(Links::default());
        let (stop, stopped) = oneshot::channel();
        let hall = Arc::new(Hall { links: Arc::clone(&links), router, config });
        let task = tokio::spawn(accept(listener, hall, stopped));
        Self { links, stop: Some(stop), task }
    }

    pub(crate) fn links(&self) -> &Links {
        &self.links
    }

    /// Lets nobody in any more.
    pub(crate) fn stop(&mut self) {
        // Dropping the sender is the message.
        self.stop.take();
    }

    /// Ends all; the address is free afterwards.
    pub(crate) async fn end(mut self) {
        self.task.abort();
        // The task was aborted, which is its only way to end.
        let _aborted = (&mut self.task).await;
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Debug)]
struct Hall {
    links: Arc<Links>,
    router: PathBuf,
    config: DoorConfig,
}

async fn accept(listener: TcpListener, hall: Arc<Hall>, mut stopped: oneshot::Receiver<()>) {
    let mut connections = JoinSet::new();
    let mut pause = PAUSE;
    let mut number = 0;
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((peer, from)) => {
                    pause = PAUSE;
                    if connections.len() >= hall.config.connections {
                        tracing::warn!(%from, "too many connections; this one is closed");
                        continue;
                    }
                    number += 1;
                    connections.spawn(Arc::clone(&hall).serve(peer, Link::new(number, from)));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection; trying again");
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            },
            Some(_ended) = connections.join_next() => {}
            _stop = &mut stopped => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
    // The owner of the door ends this task.
    std::future::pending().await
}

impl Hall {
    async fn serve(self: Arc<Self>, peer: TcpStream, link: Link) {
        let (number, from) = (link.number, link.from);
        match timeout(self.config.handshake, self.admit(peer, &link)).await {
            Ok(Ok((peer, router, input))) => {
                let link = Arc::new(link);
                self.links.insert(Arc::clone(&link));
                let _registered = Registered { links: &self.links, number };
                let DoorConfig { first_frame, frame, frames, idle, stall, .. } = self.config;
                let limits =
                    Limits { first_frame: first_frame as u64, frame: frame as u64, frames };
                let end = relay(peer, router, input, &link, limits, Patience { idle, stall }).await;
                tracing::debug!(%from, connection = number, %end, "a connection ended");
            }
            Ok(Err(error)) => tracing::debug!(%from, %error, "a connection was refused"),
            Err(_elapsed) => tracing::debug!(%from, "a connection did not finish its handshake"),
        }
    }

    /// Does the handshake, first with the peer, then with the ROUTER.
    async fn admit(
        &self,
        mut peer: TcpStream,
        link: &Link,
    ) -> Result<(TcpStream, UnixStream, BytesMut), HandshakeError> {
        peer.set_nodelay(true)?;
        let mut input = BytesMut::new();
        let ready = shake(&mut peer, &mut input, &link.route).await?;
        let mut router = connect(&self.router).await?;
        router.write_all(&greeting()).await?;
        router.write_all(&ready).await?;
        let mut answer = [0; GREETING];
        router.read_exact(&mut answer).await?;
        Ok((peer, router, input))
    }
}

/// Connects to the ROUTER; waits while its queue of new connections is full.
async fn connect(router: &Path) -> io::Result<UnixStream> {
    loop {
        // The crate spins when it finds no descriptor for what it accepts, so
        // one is kept free for it.
        let spare = File::open("/dev/null")?;
        let connected = UnixStream::connect(router).await;
        drop(spare);
        match connected {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(PAUSE).await,
            connected => return connected,
        }
    }
}

/// Takes a link off the list however its task ends.
struct Registered<'links> {
    links: &'links Links,
    number: u64,
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.links.remove(self.number);
    }
}
