//! Lets connections in.

use std::{
    fmt::Display,
    fs::File,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::BytesMut;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    sync::oneshot,
    task::{JoinHandle, JoinSet},
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};

use super::{
    link::{Link, Links},
    relay::{End, Rules, relay},
};
use crate::{
    bucket::Quiet,
    config::DoorConfig,
    counters::Counters,
    zmtp::{GREETING, HandshakeError, Limits, greeting, shake},
};

/// The pause after the first failed accept; it doubles up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How the system finds out that the machine of a peer that sends nothing is
/// gone.
const KEEPALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(10));

/// A running acceptor and its connections; dropping it ends them.
#[derive(Debug)]
pub(crate) struct Door {
    hall: Arc<Hall>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Door {
    /// Accepts from `listener` for the ROUTER at the unix socket `router`.
    pub(crate) fn open(
        listener: TcpListener,
        router: PathBuf,
        config: DoorConfig,
        counters: Arc<Counters>,
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        let guests = Limits {
            first_frame: config.first_frame as u64,
            frame: config.frame as u64,
            frames: config.frames,
            left_out: 0,
        };
        let before = config.before_hello as u64;
        let strangers = Limits {
            first_frame: before.min(guests.first_frame),
            frame: before.min(guests.frame),
            left_out: guests.frame,
            ..guests
        };
        let rules = Rules::new(strangers, guests, config.unfinished);
        let (links, log) = (Links::default(), Mutex::default());
        let hall = Arc::new(Hall { links, router, config, rules, counters, log });
        let task = tokio::spawn(accept(listener, Arc::clone(&hall), stopped));
        Self { hall, stop: Some(stop), task }
    }

    pub(crate) fn links(&self) -> &Links {
        &self.hall.links
    }

    pub(crate) fn config(&self) -> &DoorConfig {
        &self.hall.config
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
    links: Links,
    router: PathBuf,
    config: DoorConfig,
    rules: Arc<Rules>,
    counters: Arc<Counters>,
    log: Mutex<Quiet>,
}

async fn accept(listener: TcpListener, hall: Arc<Hall>, mut stopped: oneshot::Receiver<()>) {
    let mut connections = JoinSet::new();
    let mut pause = PAUSE;
    let mut sweep = interval(hall.config.beat());
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((peer, from)) => {
                    pause = PAUSE;
                    match hall.enter(from) {
                        Ok(link) => drop(connections.spawn(Arc::clone(&hall).serve(peer, link))),
                        Err(why) => hall.refused(from, why),
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection; trying again");
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            },
            Some(_ended) = connections.join_next() => {}
            _ = sweep.tick() => hall.links.sweep(&hall.config),
            _stop = &mut stopped => break,
        }
    }
    drop(listener);
    loop {
        tokio::select! {
            ended = connections.join_next() => if ended.is_none() { break },
            _ = sweep.tick() => hall.links.sweep(&hall.config),
        }
    }
    // The owner of the door ends this task.
    std::future::pending().await
}

impl Hall {
    /// Decides on a new connection before anything is read from it.
    fn enter(&self, from: SocketAddr) -> Result<Arc<Link>, &'static str> {
        if !self.config.accept.admits(from.ip()) {
            return Err("the setting 'accept' names no network that its address is in; \
                        add one if it is to be let in");
        }
        self.links.begin(from, &self.config).ok_or("there are too many connections")
    }

    async fn serve(self: Arc<Self>, peer: TcpStream, link: Arc<Link>) {
        let from = link.from;
        let _registered = Registered { links: &self.links, number: link.number };
        let admitted = tokio::select! {
            admitted = timeout(self.config.handshake, self.admit(peer, &link)) => admitted,
            why = link.kicked() => return self.refused(from, why),
        };
        match admitted {
            Ok(Ok((peer, router, input))) => {
                match relay(peer, router, input, &link, &self.rules).await {
                    end @ (End::Closed | End::Io(_)) => {
                        tracing::debug!(%from, %end, "a connection ended");
                    }
                    end => self.refused(from, end),
                }
            }
            // Whoever only looks whether somebody listens hangs up, as the
            // commands of our own program do: nothing to warn of.
            Ok(Err(error)) if error.is_hang_up() => {
                self.counters.refused();
                tracing::debug!(%from, %error, "a connection hung up");
            }
            Ok(Err(error)) => self.refused(from, error),
            Err(_elapsed) => self.refused(from, "it did not finish its handshake"),
        }
    }

    /// Counts a connection that was closed for what it did or did not do.
    fn refused(&self, from: SocketAddr, why: impl Display) {
        self.counters.refused();
        let line = self.log.lock().unwrap_or_else(PoisonError::into_inner).line(Instant::now());
        if let Some(unsaid) = line {
            tracing::warn!(%from, %why, unsaid, "a connection was closed");
        }
    }

    /// Does the handshake, first with the peer, then with the ROUTER.
    async fn admit(
        &self,
        mut peer: TcpStream,
        link: &Link,
    ) -> Result<(TcpStream, UnixStream, BytesMut), HandshakeError> {
        peer.set_nodelay(true)?;
        SockRef::from(&peer).set_tcp_keepalive(&KEEPALIVE)?;
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
