//! A line between a peer and a server that can be cut and frozen.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hulynet_bus::{Bus, Peer, PeerConfig, PeerEvent};
use hulynet_protocol::Role;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp},
    sync::{mpsc::Receiver, watch},
};

/// Passes bytes on until it is told otherwise.
pub struct Line {
    pub address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Counts the cuts.
    cuts: watch::Sender<u64>,
    /// What the server says is lost from now on, on connections of now.
    mute: watch::Sender<bool>,
    /// Nothing is read from the server.
    stop: AtomicBool,
    /// New connections are accepted and lead nowhere.
    dead_end: AtomicBool,
}

impl Line {
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::<State>::default();
        tokio::spawn(accept(listener, server, Arc::clone(&state)));
        Self { address, state }
    }

    /// A peer at the end of it.
    pub fn join(&self, bus: &Bus, name: &str, alive: Duration) -> (Peer, Receiver<PeerEvent>) {
        let mut config = PeerConfig::new(super::client(name), Role::Client);
        (config.alive_timeout, config.ping_interval) = (alive, alive / 4);
        bus.connect(&self.address.to_string(), config)
    }

    /// Resets all connections; the next ones work.
    pub fn cut(&self) {
        self.state.mute.send_replace(false);
        self.state.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Swallows what the server says on the connections of now.
    pub fn mute(&self) {
        self.state.mute.send_replace(true);
    }

    /// Takes nothing from the server any more, on connections of now.
    pub fn stop(&self) {
        self.state.stop.store(true, Ordering::SeqCst);
    }

    /// The next connections lead nowhere.
    pub fn end(&self) {
        self.state.dead_end.store(true, Ordering::SeqCst);
    }

    /// The next connections work again.
    pub fn open(&self) {
        self.state.dead_end.store(false, Ordering::SeqCst);
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, state: Arc<State>) {
    loop {
        let (near, _) = listener.accept().await.unwrap();
        if state.dead_end.load(Ordering::SeqCst) {
            // Kept open until the next cut.
            near.set_zero_linger().unwrap();
            let mut cuts = state.cuts.subscribe();
            tokio::spawn(async move {
                let _cut = cuts.changed().await;
                drop(near);
            });
            continue;
        }
        // A line that was mute speaks to those who come anew.
        let mute = Arc::new(AtomicBool::new(false));
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let mut cuts = state.cuts.subscribe();
            let mut muted = state.mute.subscribe();
            muted.mark_unchanged();
            let Ok(far) = TcpStream::connect(server).await else { return };
            // A close sends a reset.
            near.set_zero_linger().unwrap();
            far.set_zero_linger().unwrap();
            let ((near_read, near_write), (far_read, far_write)) =
                (near.into_split(), far.into_split());
            tokio::select! {
                () = pass(near_read, far_write, Arc::default(), None) => {}
                () = pass(far_read, near_write, Arc::clone(&mute), Some(&state.stop)) => {}
                () = async {
                    while muted.changed().await.is_ok() {
                        mute.store(*muted.borrow(), Ordering::SeqCst);
                    }
                } => {}
                _ = cuts.changed() => {}
            }
        });
    }
}

async fn pass(
    mut from: tcp::OwnedReadHalf,
    mut to: tcp::OwnedWriteHalf,
    mute: Arc<AtomicBool>,
    stop: Option<&AtomicBool>,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if stop.is_some_and(|stop| stop.load(Ordering::SeqCst)) {
            std::future::pending::<()>().await;
        }
        if !mute.load(Ordering::SeqCst) && to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
