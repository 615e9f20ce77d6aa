//! The floors: an echo over plain TCP, one over the `zeromq` crate alone, and
//! one by a native handler behind a server of the bus.

use std::{
    process::{Child, Command, Stdio},
    time::Instant,
};

use anyhow::{Context, bail};
use bytes::{Bytes, BytesMut};
use clap::ValueEnum;
use hulynet_bus::{Bus, Incoming, ServerConfig};
use hulynet_protocol::{Reply, Role, ServerId};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader, BufWriter},
    net::{TcpListener, TcpStream, tcp},
};
use zeromq::{DealerSocket, RouterSocket, Socket, SocketRecv, SocketSend, ZmqMessage};

use crate::load::Client;

/// What is measured as the floor.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Floor {
    /// Length-delimited frames over TCP
    Tcp,
    /// DEALER and ROUTER of the `zeromq` crate
    Zeromq,
    /// A handler on the thread of the bus, as an agent has one
    Native,
}

/// Serves until killed.
pub(crate) fn serve(floor: Floor) -> anyhow::Result<()> {
    // One thread is what both serve fastest with on loopback.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match floor {
        Floor::Tcp => runtime.block_on(serve_tcp()),
        Floor::Zeromq => runtime.block_on(serve_zeromq()),
        Floor::Native => runtime.block_on(serve_native()),
    }
}

async fn serve_tcp() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let (read, write) = stream.into_split();
            let (mut read, mut write) = (BufReader::new(read), BufWriter::new(write));
            // A client that hangs up ends its own connection only.
            while let Ok(frame) = read_frame(&mut read).await {
                if write_frame(&mut write, &frame).await.is_err()
                    || (read.buffer().is_empty() && write.flush().await.is_err())
                {
                    break;
                }
            }
        });
    }
}

async fn serve_zeromq() -> anyhow::Result<()> {
    let mut router = RouterSocket::new();
    println!("{}", router.bind("tcp://127.0.0.1:0").await?.to_string().replace("tcp://", ""));
    loop {
        let message = router.recv().await?;
        router.send(message).await?;
    }
}

async fn serve_native() -> anyhow::Result<()> {
    let bus = Bus::current();
    let config = ServerConfig { role: Role::Agent, id: ServerId::random() };
    let (server, mut incoming) = bus.bind("127.0.0.1:0", config).await?;
    println!("{}", server.local_addr());
    while let Some(incoming) = incoming.recv().await {
        if let Incoming::Request(request) = incoming {
            request.responder.reply(Ok((Reply::Payload, request.payload)));
        }
    }
    Ok(())
}

/// A floor's server, killed when dropped.
pub(crate) struct FloorServer {
    process: Child,
    /// Where it listens.
    pub(crate) address: String,
}

impl FloorServer {
    /// Starts it as a process of its own.
    pub(crate) fn start(floor: Floor) -> anyhow::Result<Self> {
        let name = floor.to_possible_value().context("a floor has a name")?;
        let mut process = Command::new(std::env::current_exe()?)
            .args(["serve", name.get_name()])
            .stdout(Stdio::piped())
            .spawn()?;
        let out = process.stdout.take().context("the floor's output is piped")?;
        let mut address = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut address)?;
        Ok(Self { process, address: address.trim().to_owned() })
    }

    /// The number of its process.
    pub(crate) fn process(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for FloorServer {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to do.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn read_frame(read: &mut BufReader<tcp::OwnedReadHalf>) -> anyhow::Result<BytesMut> {
    let length = read.read_u32().await? as usize;
    let mut frame = BytesMut::zeroed(length);
    read.read_exact(&mut frame).await?;
    Ok(frame)
}

async fn write_frame(
    write: &mut BufWriter<tcp::OwnedWriteHalf>,
    frame: &[u8],
) -> anyhow::Result<()> {
    write.write_u32(u32::try_from(frame.len())?).await?;
    write.write_all(frame).await?;
    Ok(())
}

/// A client of the TCP floor.
pub(crate) struct TcpClient {
    read: BufReader<tcp::OwnedReadHalf>,
    write: BufWriter<tcp::OwnedWriteHalf>,
}

impl TcpClient {
    pub(crate) async fn connect(address: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (read, write) = stream.into_split();
        Ok(Self { read: BufReader::new(read), write: BufWriter::new(write) })
    }

    async fn receive(&mut self, payload: &Bytes) -> anyhow::Result<()> {
        check(&read_frame(&mut self.read).await?, payload)
    }
}

impl Client for TcpClient {
    async fn round_trip(&mut self, payload: &Bytes) -> anyhow::Result<()> {
        write_frame(&mut self.write, payload).await?;
        self.write.flush().await?;
        self.receive(payload).await
    }

    async fn pump(
        mut self,
        payload: Bytes,
        in_flight: usize,
        until: Instant,
    ) -> anyhow::Result<u64> {
        for _ in 0..in_flight {
            write_frame(&mut self.write, &payload).await?;
        }
        self.write.flush().await?;
        let mut completed = 0;
        while Instant::now() < until {
            self.receive(&payload).await?;
            write_frame(&mut self.write, &payload).await?;
            if self.read.buffer().is_empty() {
                self.write.flush().await?;
            }
            completed += 1;
        }
        Ok(completed)
    }
}

/// A client of the `zeromq` floor.
pub(crate) struct ZeromqClient(DealerSocket);

impl ZeromqClient {
    pub(crate) async fn connect(address: &str) -> anyhow::Result<Self> {
        let mut socket = DealerSocket::new();
        socket.connect(&format!("tcp://{address}")).await?;
        Ok(Self(socket))
    }

    async fn receive(&mut self, payload: &Bytes) -> anyhow::Result<()> {
        let message = self.0.recv().await?;
        check(message.get(0).context("an answer without a frame")?, payload)
    }
}

impl Client for ZeromqClient {
    async fn round_trip(&mut self, payload: &Bytes) -> anyhow::Result<()> {
        self.0.send(ZmqMessage::from(payload.clone())).await?;
        self.receive(payload).await
    }

    async fn pump(
        mut self,
        payload: Bytes,
        in_flight: usize,
        until: Instant,
    ) -> anyhow::Result<u64> {
        for _ in 0..in_flight {
            self.0.send(ZmqMessage::from(payload.clone())).await?;
        }
        let mut completed = 0;
        while Instant::now() < until {
            self.receive(&payload).await?;
            self.0.send(ZmqMessage::from(payload.clone())).await?;
            completed += 1;
        }
        Ok(completed)
    }
}

/// A transport that loses or changes bytes must not be called fast.
pub(crate) fn check(answer: &[u8], payload: &Bytes) -> anyhow::Result<()> {
    if answer != payload {
        bail!("the answer is not what was sent");
    }
    Ok(())
}
