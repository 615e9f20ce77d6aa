//! The beginning of a ZMTP connection, checked from both sides.

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::scan::{Header, Violation, command};

/// The length of a greeting.
pub(crate) const GREETING: usize = 64;

/// Why a handshake fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("the connection broke: {0}")]
    Io(#[from] std::io::Error),
    #[error("it was closed before its handshake was complete")]
    Closed,
    #[error("it does not speak ZMTP 3 with the NULL mechanism")]
    Greeting,
    #[error("it begins with {0}")]
    Frame(#[from] Violation),
    #[error("it begins with a frame that is not a well-formed READY of a DEALER")]
    Ready,
    #[error("it is no ROUTER")]
    Server,
}

impl HandshakeError {
    /// The other side went away before it said anything wrong.
    pub(crate) fn is_hang_up(&self) -> bool {
        match self {
            Self::Closed => true,
            Self::Io(error) => matches!(
                error.kind(),
                std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe
            ),
            _ => false,
        }
    }
}

/// Our greeting: ZMTP 3.1, mechanism NULL, not a server in its sense.
pub(crate) fn greeting() -> [u8; GREETING] {
    let mut greeting = [0; GREETING];
    let fields = [(0, &b"\xff"[..]), (9, &b"\x7f\x03\x01NULL"[..])];
    for (at, bytes) in fields {
        for (to, from) in greeting.iter_mut().skip(at).zip(bytes) {
            *to = *from;
        }
    }
    greeting
}

/// Exchanges greetings with a peer and reads its READY, that of a DEALER.
/// Gives the READY with `identity` in it; what the peer sent after it stays in
/// `input`.
pub(crate) async fn shake<S: AsyncRead + AsyncWrite + Unpin>(
    peer: &mut S,
    input: &mut BytesMut,
    identity: &[u8],
) -> Result<Vec<u8>, HandshakeError> {
    peer.write_all(&greeting()).await?;
    let body = read_ready(peer, input).await?;
    ready(&body, identity).ok_or(HandshakeError::Ready)
}

/// The same from the connecting side: we are the DEALER.
pub(crate) async fn greet<S: AsyncRead + AsyncWrite + Unpin>(
    server: &mut S,
    input: &mut BytesMut,
) -> Result<(), HandshakeError> {
    let mut ready = b"\x05READY".to_vec();
    property(&mut ready, b"Socket-Type", b"DEALER").ok_or(HandshakeError::Ready)?;
    property(&mut ready, b"Identity", b"").ok_or(HandshakeError::Ready)?;
    server.write_all(&[&greeting()[..], &command(&ready)].concat()).await?;
    let body = read_ready(server, input).await?;
    let ours = properties(&body).ok_or(HandshakeError::Server)?;
    let is_router = |(name, value): &(Bytes, Bytes)| {
        name.eq_ignore_ascii_case(b"socket-type") && (value == "ROUTER" || value == "DEALER")
    };
    if ours.iter().any(is_router) { Ok(()) } else { Err(HandshakeError::Server) }
}

/// Reads a greeting, and the body of the READY after it.
async fn read_ready<S: AsyncRead + Unpin>(
    peer: &mut S,
    input: &mut BytesMut,
) -> Result<Bytes, HandshakeError> {
    while input.len() < GREETING {
        read(peer, input).await?;
        check_greeting(input)?;
    }
    input.advance(GREETING);
    loop {
        if let Some(header) = Header::read(input)? {
            if !header.is_command {
                return Err(HandshakeError::Ready);
            }
            if let Some(body) = header.body(input)? {
                let (size, length) = (header.size, body.len());
                input.advance(size);
                return Ok(input.split_to(length).freeze());
            }
        }
        read(peer, input).await?;
    }
}

async fn read<S: AsyncRead + Unpin>(
    peer: &mut S,
    input: &mut BytesMut,
) -> Result<(), HandshakeError> {
    input.reserve(1024);
    match peer.read_buf(input).await? {
        0 => Err(HandshakeError::Closed),
        _ => Ok(()),
    }
}

/// Checks as much as there is, so that another protocol is noticed at its
/// first bytes. Peers with a higher version use ours.
fn check_greeting(input: &[u8]) -> Result<(), HandshakeError> {
    let mechanism: [u8; 20] = *b"NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let right = input.iter().take(32).enumerate().all(|(at, &byte)| match at {
        0 => byte == 0xff,
        9 => byte & 1 == 1,
        10 => byte >= 3,
        12.. => mechanism.get(at - 12) == Some(&byte),
        _ => true,
    });
    if right { Ok(()) } else { Err(HandshakeError::Greeting) }
}

/// The READY of a DEALER, with another identity.
fn ready(body: &[u8], identity: &[u8]) -> Option<Vec<u8>> {
    let mut ready = b"\x05READY".to_vec();
    let mut is_dealer = false;
    for (name, value) in properties(body)? {
        if name.eq_ignore_ascii_case(b"identity") {
            continue;
        }
        is_dealer |= name.eq_ignore_ascii_case(b"socket-type") && value == "DEALER";
        property(&mut ready, &name, &value)?;
    }
    property(&mut ready, b"Identity", identity)?;
    is_dealer.then(|| command(&ready))
}

/// The properties in a READY.
fn properties(body: &[u8]) -> Option<Vec<(Bytes, Bytes)>> {
    let mut rest = Bytes::copy_from_slice(body.strip_prefix(b"\x05READY")?);
    let mut properties = Vec::new();
    while !rest.is_empty() {
        let length = usize::from(rest.try_get_u8().ok()?);
        let name = take(&mut rest, length)?;
        let length = usize::try_from(rest.try_get_u32().ok()?).ok()?;
        properties.push((name, take(&mut rest, length)?));
    }
    Some(properties)
}

fn take(from: &mut Bytes, length: usize) -> Option<Bytes> {
    (from.len() >= length).then(|| from.split_to(length))
}

fn property(to: &mut Vec<u8>, name: &[u8], value: &[u8]) -> Option<()> {
    to.push(u8::try_from(name.len()).ok()?);
    to.extend_from_slice(name);
    to.extend_from_slice(&u32::try_from(value.len()).ok()?.to_be_bytes());
    to.extend_from_slice(value);
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DEALER: &[u8] = b"\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\x03abc";

    #[test]
    fn the_identity_is_ours_and_the_rest_stays() {
        let expected = b"\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\x02me";
        assert_eq!(ready(DEALER, b"me"), Some(command(expected)));
        let other = DEALER.to_vec().replace_type(b"ROUTER");
        assert_eq!(ready(&other, b"me"), None);
    }

    trait ReplaceType {
        fn replace_type(self, with: &[u8]) -> Self;
    }

    impl ReplaceType for Vec<u8> {
        fn replace_type(mut self, with: &[u8]) -> Self {
            self[22..28].copy_from_slice(with);
            self
        }
    }

    #[test]
    fn another_protocol_is_noticed_at_its_first_bytes() {
        assert!(check_greeting(b"GET / HTTP/1.1").is_err());
        assert!(check_greeting(&greeting()).is_ok());
        let mut curve = greeting();
        curve[12..17].copy_from_slice(b"CURVE");
        assert!(check_greeting(&curve).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_reading_of_ready(
            at in 0usize..50,
            bytes in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let mut body = DEALER.to_vec();
            body.truncate(at);
            body.extend(bytes);
            let _any = ready(&body, b"me");
        }
    }
}
