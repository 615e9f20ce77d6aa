//! Settings, each with a default that works.

use std::{net::IpAddr, time::Duration};

use hulynet_protocol::{ClientId, Role, ServerId, limits};

use crate::{admission::Admission, secret::Secret};

/// How a server treats its peers.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// What it is.
    pub role: Role,
    /// Names this run.
    pub id: ServerId,
}

/// How a peer behaves.
#[derive(Clone, Debug)]
pub struct PeerConfig {
    /// Who it is.
    pub client: ClientId,
    /// What it is.
    pub role: Role,
    /// Announced in hello: lost after this long without a message. Shorter
    /// notices a death sooner, longer survives a longer pause. Default 3 s.
    pub alive_timeout: Duration,
    /// How often it proves that it lives; at most a third of `alive_timeout`,
    /// so that one late ping does no harm. Default 1 s.
    pub ping_interval: Duration,
    /// With one it joins only servers that prove to have the same, and proves
    /// it to them. Default none.
    pub secret: Option<Secret>,
}

impl PeerConfig {
    /// The defaults: alive timeout 3 s, ping interval 1 s, no secret.
    #[must_use]
    pub fn new(client: ClientId, role: Role) -> Self {
        Self {
            client,
            role,
            alive_timeout: Duration::from_secs(3),
            ping_interval: Duration::from_secs(1),
            secret: None,
        }
    }
}

/// What the door in front of a listening socket lets in.
#[derive(Clone, Debug)]
pub struct DoorConfig {
    /// From where; who comes from elsewhere is closed at the accept. Default
    /// everybody: the default addresses of coordinators and agents are on
    /// loopback, where only this machine reaches them, and which networks are
    /// trusted beyond it only the operator knows.
    pub accept: Admission,
    /// With one, native peers that do not prove in their hello to have the same
    /// are refused. Default none.
    pub secret: Option<Secret>,
    /// From where peers of the original network are let in, of those that
    /// `accept` lets in: their language has no proof of a secret. `None`, the
    /// default, is everybody without a secret, and nobody with one.
    pub accept_original: Option<Admission>,
    /// Connections at the same time; more are closed as they come. Each costs
    /// three file descriptors. Default 4,096.
    pub connections: usize,
    /// A connection that has not finished its ZMTP handshake by then is
    /// closed. Default 5 s.
    pub handshake: Duration,
    /// A connection whose peer has not said hello by then is closed. Default
    /// 10 s.
    pub hello: Duration,
    /// Connections whose peers have not said hello, at the same time; the
    /// oldest one makes room for the next, so that many silent connections
    /// keep nobody out. Default 1,024.
    pub strangers: usize,
    /// The largest frame before hello, in bytes; the limits below are for
    /// afterwards. A peer of the original network may have sent larger requests
    /// before it noticed that its server is another one: their payloads are
    /// left out, and it is asked for them again. Default 64 KiB.
    pub before_hello: usize,
    /// The most bytes of messages that have begun and not ended, of all
    /// connections together; the one that goes over it is closed. Default
    /// 512 MiB.
    pub unfinished: usize,
    /// A connection that takes nothing of what is written to it for so long is
    /// closed. Default 10 s.
    pub stall: Duration,
    /// A connection that sends nothing for so long is closed; peers ping far
    /// more often. Those of the original network that said hello are spared:
    /// some of them never ping. Default 60 s.
    pub idle: Duration,
    /// The largest first frame of a message, in bytes. Default
    /// [`limits::HEADER_BYTES`].
    pub first_frame: usize,
    /// The largest further frame of a message, in bytes. Default
    /// [`limits::PAYLOAD_BYTES`].
    pub frame: usize,
    /// The most frames in one message. Native messages have two, those of the
    /// original four. Default 4.
    pub frames: usize,
}

impl Default for DoorConfig {
    fn default() -> Self {
        Self {
            accept: Admission::default(),
            secret: None,
            accept_original: None,
            connections: 4096,
            handshake: Duration::from_secs(5),
            hello: Duration::from_secs(10),
            strangers: 1024,
            before_hello: 64 << 10,
            unfinished: 512 << 20,
            stall: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            first_frame: limits::HEADER_BYTES,
            frame: limits::PAYLOAD_BYTES,
            frames: 4,
        }
    }
}

impl DoorConfig {
    pub(crate) fn admits_original(&self, from: IpAddr) -> bool {
        match &self.accept_original {
            Some(networks) => networks.admits(from),
            None => self.secret.is_none(),
        }
    }

    /// How often to look for connections that may not stay any longer.
    pub(crate) fn beat(&self) -> Duration {
        let shortest = self.hello.min(self.stall).min(self.idle);
        (shortest / 4).clamp(Duration::from_millis(5), Duration::from_secs(1))
    }
}
