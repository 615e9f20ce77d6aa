//! One request and its answer, over a connection of its own.

use std::{
    error::Error as _,
    io,
    net::{SocketAddr, ToSocketAddrs},
    pin::pin,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use http_body_util::BodyExt;
use hyper::{Request, Uri, body::Body, client::conn::http1, http::uri::PathAndQuery};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::Semaphore,
    task::spawn_blocking,
    time::timeout_at,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{self, ClientConfig, RootCertStore, pki_types::ServerName},
};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, io::TokioIo};

use super::{
    Answered, Destination, Sent,
    address::is_public,
    body::{Bounded, Timed},
};
use crate::capabilities::usage::Open;

/// Bytes of an answer's head.
const HEAD: usize = 64 * 1024;

/// Names of all containers that are resolved at a time: each occupies a thread,
/// which nothing can call back.
static LOOKUPS: Semaphore = Semaphore::const_new(32);

/// What an exchange may take.
pub(super) struct Bounds {
    /// Of each body.
    pub(super) bytes: usize,
    /// When all of it is over.
    pub(super) until: Instant,
    /// Whether it may go to addresses that are not public.
    pub(super) private: bool,
    /// Shorter times that the container asks for.
    pub(super) options: RequestOptions,
    /// It counts as a request that is waited for.
    pub(super) open: Open,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Sends a request and answers with the head of its answer.
pub(super) async fn exchange(
    mut request: Request<WasiBody>,
    to: Destination,
    bounds: Bounds,
) -> Answered {
    let Bounds { bytes, until, private, options, open } = bounds;
    // In a request line the host would address a proxy.
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    let request = request.map(|body| Bounded::new(body, bytes, Error::HttpRequestBodySize));

    let connecting = async {
        let stream = connect(&to, private).await?;
        let mut builder = http1::Builder::new();
        builder.max_buf_size(HEAD).handshake(TokioIo::new(stream)).await.map_err(failed)
    };
    let (mut sender, connection) =
        timeout_at(soonest(until, options.connect_timeout).into(), connecting)
            .await
            .map_err(|_| Error::ConnectionTimeout)??;
    // Failures of the connection are told by the answer and its body.
    let mut connection = Box::pin(timeout_at(until.into(), connection));
    let mut over = false;
    let answered = {
        let by = soonest(until, options.first_byte_timeout);
        let mut answering = pin!(timeout_at(by.into(), sender.send_request(request)));
        tokio::select! {
            biased;
            answered = &mut answering => answered,
            _ended = &mut connection => {
                over = true;
                answering.await
            }
        }
    };
    let response = answered.map_err(|_| Error::HttpResponseTimeout)?.map_err(failed)?;
    if response.body().size_hint().lower() > bytes as u64 {
        return Err(Error::HttpResponseBodySize(Some(bytes as u64)));
    }
    let sent: Sent = Box::new(async move {
        if !over {
            let _told_by_the_body = connection.await;
        }
        Ok(())
    });
    let pause = options.between_bytes_timeout;
    Ok((response.map(|body| answer(body, bytes, until, pause, open)), sent))
}

fn answer(
    body: hyper::body::Incoming,
    bytes: usize,
    until: Instant,
    pause: Option<Duration>,
    open: Open,
) -> WasiBody {
    let body = Bounded::new(body.map_err(failed), bytes, Error::HttpResponseBodySize);
    Timed::new(body, until, pause, open).boxed_unsync()
}

fn soonest(until: Instant, within: Option<Duration>) -> Instant {
    within.and_then(|within| Instant::now().checked_add(within)).map_or(until, |by| by.min(until))
}

/// Connects to an address that may be connected to.
async fn connect(to: &Destination, private: bool) -> Result<Box<dyn Stream>, Error> {
    let found = resolve(to).await?;
    let mut failure = Error::DestinationIpProhibited;
    for address in found.into_iter().filter(|address| private || is_public(address.ip())) {
        match TcpStream::connect(address).await {
            Ok(stream) if to.tls => return secure(stream, &to.host).await,
            Ok(stream) => return Ok(Box::new(stream)),
            Err(error) => failure = not_connected(&error),
        }
    }
    Err(failure)
}

/// The addresses that a name stands for.
async fn resolve(to: &Destination) -> Result<Vec<SocketAddr>, Error> {
    // It is never closed.
    let permit = LOOKUPS.acquire().await.map_err(|_| Error::ConfigurationError)?;
    let name = (to.host.clone(), to.port);
    let looking = spawn_blocking(move || {
        let found = name.to_socket_addrs().map(Vec::from_iter);
        drop(permit);
        found
    });
    let found = looking.await.map_err(io::Error::from).flatten();
    found.map_err(|error| Error::DnsError { rcode: Some(error.to_string()), info_code: None })
}

fn not_connected(error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Error::ConnectionRefused,
        io::ErrorKind::TimedOut => Error::ConnectionTimeout,
        _ => Error::DestinationUnavailable,
    }
}

/// Who is believed: what Mozilla's programs believe.
static TLS: LazyLock<Result<Arc<ClientConfig>, rustls::Error>> = LazyLock::new(|| {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.into() };
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
});

async fn secure(stream: TcpStream, host: &str) -> Result<Box<dyn Stream>, Error> {
    let config = TLS.as_ref().map_err(|_| Error::ConfigurationError)?;
    let name = ServerName::try_from(host.to_owned()).map_err(|_| Error::HttpRequestUriInvalid)?;
    let connector = TlsConnector::from(config.clone());
    let stream = connector.connect(name, stream).await.map_err(|error| {
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
        match cause {
            Some(rustls::Error::InvalidCertificate(_)) => Error::TlsCertificateError,
            _ => Error::TlsProtocolError,
        }
    })?;
    Ok(Box::new(stream))
}

/// What a failure of HTTP is for the container.
fn failed(error: hyper::Error) -> Error {
    if let Some(Error::HttpRequestBodySize(limit)) =
        error.source().and_then(|cause| cause.downcast_ref())
    {
        return Error::HttpRequestBodySize(*limit);
    }
    if error.is_parse_too_large() {
        Error::HttpResponseHeaderSectionSize(u32::try_from(HEAD).ok())
    } else if error.is_parse() {
        Error::HttpProtocolError
    } else if error.is_incomplete_message() {
        Error::HttpResponseIncomplete
    } else {
        Error::ConnectionTerminated
    }
}
