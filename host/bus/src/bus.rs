//! The thread that owns all sockets of a part of a process.

use std::{io, os::unix::net::UnixListener, sync::Arc, thread};

use tokio::{
    net::TcpListener,
    runtime::{Builder, Handle},
    sync::{mpsc, oneshot},
    task::{JoinHandle, spawn_blocking},
};
use zeromq::{RouterSocket, Socket};

use crate::{
    BusError, Incoming, Peer, PeerConfig, PeerEvent, Server, ServerConfig,
    address::resolve,
    config::DoorConfig,
    counters::Counters,
    door::Door,
    home::Home,
    outbox::Outbox,
    peer::Supervisor,
    server::{Directory, Service},
};

/// One thread with its own current-thread runtime that owns all sockets of a
/// part of a process (coordinator, agent, client), or the runtime of a program
/// that wants them there. Cheap to clone; the thread ends when the last clone,
/// server and peer are gone.
#[derive(Clone, Debug)]
pub struct Bus {
    thread: Arc<Thread>,
}

/// The thread; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Thread {
    runtime: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Drop for Thread {
    fn drop(&mut self) {
        // Dropping the sender is the message.
        self.stop.take();
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != thread::current().id()
            && thread.join().is_err()
        {
            tracing::error!("the bus thread panicked");
        }
    }
}

impl Bus {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`BusError::Start`] when the system refuses a thread.
    pub fn start(name: &str) -> Result<Self, BusError> {
        let failed = |error: io::Error| {
            BusError::Start(format!("the bus thread {name} cannot be started: {error}"))
        };
        let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let run = move || {
            // Ends when the sender is dropped.
            let _stopped = runtime.block_on(stopped);
            // Name lookups may still run; they hold nothing.
            runtime.shutdown_background();
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(run).map_err(failed)?;
        let (stop, thread) = (Some(stop), Some(thread));
        Ok(Self { thread: Arc::new(Thread { runtime: handle, stop, thread }) })
    }

    /// The sockets live on the runtime that calls this instead of on a thread of
    /// their own: a request to a server then changes no thread, which halves its
    /// time where little is in flight. In exchange they stand still while the
    /// runtime is blocked, and leases are not renewed meanwhile: for programs
    /// that never block it.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn current() -> Self {
        let thread = Thread { runtime: Handle::current(), stop: None, thread: None };
        Self { thread: Arc::new(thread) }
    }

    /// Runs a task beside the sockets: whatever it does with them changes no
    /// thread. It must not block, nor compute for long. It ends with the bus.
    pub fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.thread.runtime.spawn(task)
    }

    /// Binds a ROUTER behind its door at `HOST:PORT` (port 0 = any free one),
    /// with the door's defaults.
    ///
    /// # Errors
    /// [`BusError::Bind`] when the address is in use, not local or malformed.
    pub async fn bind(
        &self,
        address: &str,
        config: ServerConfig,
    ) -> Result<(Server, mpsc::Receiver<Incoming>), BusError> {
        self.bind_with(address, config, DoorConfig::default()).await
    }

    /// The same with other settings of the door.
    ///
    /// # Errors
    /// Those of [`Self::bind`].
    pub async fn bind_with(
        &self,
        address: &str,
        config: ServerConfig,
        door: DoorConfig,
    ) -> Result<(Server, mpsc::Receiver<Incoming>), BusError> {
        let thread = Arc::clone(&self.thread);
        let to = address.to_owned();
        let bound = self.thread.runtime.spawn(async move { bind(&to, config, door).await });
        let failed = |error: &io::Error| {
            let remedy = match error.kind() {
                io::ErrorKind::AddrInUse => {
                    "; stop the program that uses it or choose another port"
                }
                io::ErrorKind::AddrNotAvailable => "; choose an address of this machine",
                io::ErrorKind::PermissionDenied => "; choose a port from 1024 on",
                _ => "",
            };
            BusError::Bind(format!("cannot listen on {address}: {error}{remedy}"))
        };
        let bound = bound.await.map_err(|error| failed(&io::Error::other(error)))?;
        let Bound { listening, service, incoming } = bound.map_err(|error| failed(&error))?;
        let (directory, originals) =
            (Arc::clone(&service.directory), Arc::clone(&service.originals));
        let (lane, counters) = (service.lane.clone(), Arc::clone(&service.counters));
        let server = Server::new(listening, lane, directory, originals, counters, thread);
        self.thread.runtime.spawn(service.run());
        Ok((server, incoming))
    }

    /// A supervised connection to `HOST:PORT`: connects, says hello, pings,
    /// reconnects with jittered back-off until closed.
    #[must_use]
    pub fn connect(&self, address: &str, config: PeerConfig) -> (Peer, mpsc::Receiver<PeerEvent>) {
        let (lane, commands) = mpsc::unbounded_channel();
        let (outbox, events) = Outbox::new();
        let peer = Peer::new(address, lane.clone(), Arc::clone(&self.thread));
        let supervisor = Supervisor::new(peer.shared(), config, lane, commands, outbox);
        self.thread.runtime.spawn(supervisor.run());
        (peer, events)
    }
}

struct Bound {
    listening: std::net::SocketAddr,
    service: Service,
    incoming: mpsc::Receiver<Incoming>,
}

/// Binds the listener, and the ROUTER on a unix socket that only we can open.
async fn bind(address: &str, config: ServerConfig, door: DoorConfig) -> io::Result<Bound> {
    let addresses = resolve(address).await?;
    let listener = TcpListener::bind(&addresses[..]).await?;
    let listening = listener.local_addr()?;
    let home = spawn_blocking(Home::new).await.map_err(io::Error::other)??;
    let path = home.path().join("router");
    let mut socket = RouterSocket::new();
    let monitor = socket.monitor();
    socket.bind_listener(UnixListener::bind(&path)?).await.map_err(io::Error::other)?;
    let (sender, receiver) = socket.split();
    let (lane, commands) = mpsc::unbounded_channel();
    let (outbox, incoming) = Outbox::new();
    let counters = Arc::<Counters>::default();
    let service = Service {
        config,
        door: Door::open(listener, path, door, Arc::clone(&counters)),
        sender,
        receiver,
        monitor,
        lane,
        commands,
        outbox,
        directory: Arc::new(Directory::default()),
        originals: Arc::new(Directory::default()),
        counters,
        home,
    };
    Ok(Bound { listening, service, incoming })
}
