//! One request and its answer, over a connection of its own.

use std::{
    error::Error as _,
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
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
use crate::capabilities::usage::Calling;

/// Bytes of an answer's head.
pub(crate) const HEAD: usize = 64 * 1024;

/// Names of all containers that are resolved at a time: each occupies a thread,
/// which nothing can call back.
static LOOKUPS: Semaphore = Semaphore::const_new(64);

/// Names of one container that are resolved at a time, so that one whose names
/// take long leaves room for others.
pub(crate) const OWN_LOOKUPS: usize = 4;

/// The lookups of one container.
#[derive(Clone, Debug)]
pub(super) struct Lookups(Arc<Semaphore>);

impl Default for Lookups {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(OWN_LOOKUPS)))
    }
}

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
    /// Those of the container.
    pub(super) lookups: Lookups,
    /// It counts as a request that is waited for.
    pub(super) calling: Calling,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Sends a request and answers with the head of its answer.
pub(super) async fn exchange(
    mut request: Request<WasiBody>,
    to: Destination,
    bounds: Bounds,
) -> Answered {
    let Bounds { bytes, until, private, options, lookups, calling } = bounds;
    // In a request line the host would address a proxy.
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    let request = request.map(|body| Bounded::new(body, bytes, Error::HttpRequestBodySize));

    let connecting = async {
        let stream = connect(&to, private, lookups).await?;
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
    Ok((response.map(|body| answer(body, bytes, until, pause, calling)), sent))
}

fn answer(
    body: hyper::body::Incoming,
    bytes: usize,
    until: Instant,
    pause: Option<Duration>,
    calling: Calling,
) -> WasiBody {
    let body = Bounded::new(body.map_err(failed), bytes, Error::HttpResponseBodySize);
    Timed::new(body, until, pause, calling).boxed_unsync()
}

fn soonest(until: Instant, within: Option<Duration>) -> Instant {
    within.and_then(|within| Instant::now().checked_add(within)).map_or(until, |by| by.min(until))
}

/// Connects to an address that may be connected to.
async fn connect(
    to: &Destination,
    private: bool,
    lookups: Lookups,
) -> Result<Box<dyn Stream>, Error> {
    let found = resolve(to, lookups).await?;
    let mut failure = Error::DestinationIpProhibited;
    for address in found.into_iter().filter(|address| private || is_public(address.ip())) {
        match TcpStream::connect(address).await {
            Ok(stream) if to.tls => {
                let config = TLS.as_ref().map_err(|_| Error::ConfigurationError)?;
                return secure(stream, &to.host, config.clone()).await;
            }
            Ok(stream) => return Ok(Box::new(stream)),
            Err(error) => failure = not_connected(&error),
        }
    }
    Err(failure)
}

/// The addresses that a name stands for.
async fn resolve(to: &Destination, lookups: Lookups) -> Result<Vec<SocketAddr>, Error> {
    if let Ok(address) = to.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, to.port)]);
    }
    // They are never closed.
    let closed = |_| Error::ConfigurationError;
    let own = lookups.0.acquire_owned().await.map_err(closed)?;
    let permit = LOOKUPS.acquire().await.map_err(closed)?;
    let name = (to.host.clone(), to.port);
    let looking = spawn_blocking(move || {
        let found = name.to_socket_addrs().map(Vec::from_iter);
        drop((own, permit));
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
static TLS: LazyLock<Result<Arc<ClientConfig>, rustls::Error>> =
    LazyLock::new(|| trusting(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.into() }));

fn trusting(roots: RootCertStore) -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

async fn secure(
    stream: TcpStream,
    host: &str,
    config: Arc<ClientConfig>,
) -> Result<Box<dyn Stream>, Error> {
    let name = ServerName::try_from(host.to_owned()).map_err(|_| Error::HttpRequestUriInvalid)?;
    let connector = TlsConnector::from(config);
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

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };
    use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

    use super::*;

    /// A certificate of `localhost` that is signed by itself, and its key.
    fn localhost() -> CertifiedKey<KeyPair> {
        generate_simple_self_signed(["localhost".to_owned()]).unwrap()
    }

    /// A host that proves to be `localhost` to those who know its certificate,
    /// and says what it was asked.
    async fn host(
        CertifiedKey { cert, signing_key }: CertifiedKey<KeyPair>,
    ) -> (SocketAddr, tokio::task::JoinHandle<io::Result<String>>) {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], signing_key.into())
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = tokio::spawn(async move {
            let (stream, _) = listener.accept().await?;
            let mut stream = TlsAcceptor::from(Arc::new(config)).accept(stream).await?;
            let mut asked = [0; 4];
            stream.read_exact(&mut asked).await?;
            stream.write_all(b"well").await?;
            Ok(String::from_utf8_lossy(&asked).into_owned())
        });
        (address, asked)
    }

    async fn ask(
        address: SocketAddr,
        name: &str,
        config: Arc<ClientConfig>,
    ) -> Result<String, Error> {
        let stream = TcpStream::connect(address).await.unwrap();
        let mut stream = secure(stream, name, config).await?;
        stream.write_all(b"how?").await.unwrap();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await.unwrap();
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    fn knowing(known: &CertifiedKey<KeyPair>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(known.cert.der().clone()).unwrap();
        trusting(roots).unwrap()
    }

    #[tokio::test]
    async fn who_proves_its_name_is_asked() {
        let localhost = localhost();
        let config = knowing(&localhost);
        let (address, asked) = host(localhost).await;
        assert_eq!(ask(address, "localhost", config).await.unwrap(), "well");
        assert_eq!(asked.await.unwrap().unwrap(), "how?");
    }

    #[tokio::test]
    async fn who_proves_another_name_or_is_vouched_for_by_nobody_is_asked_nothing() {
        for (name, is_known) in [("other.example", true), ("localhost", false)] {
            let localhost = localhost();
            let config = if is_known { knowing(&localhost) } else { TLS.clone().unwrap() };
            let (address, asked) = host(localhost).await;
            let refused = ask(address, name, config).await.unwrap_err();
            assert!(matches!(refused, Error::TlsCertificateError), "{name}: {refused:?}");
            assert!(asked.await.unwrap().is_err(), "{name}: it was asked");
        }
    }

    #[tokio::test]
    async fn an_address_is_not_looked_up_and_lookups_that_hang_do_not_stop_it() {
        let lookups = Lookups::default();
        let _hanging = lookups.0.acquire_many(OWN_LOOKUPS as u32).await.unwrap();
        let to = Destination { host: "::1".to_owned(), port: 81, tls: false };
        let found = resolve(&to, lookups.clone()).await.unwrap();
        assert_eq!(found, ["[::1]:81".parse().unwrap()]);
        let named = Destination { host: "localhost".to_owned(), port: 81, tls: false };
        assert!(futures::FutureExt::now_or_never(resolve(&named, lookups.clone())).is_none());
    }
}
