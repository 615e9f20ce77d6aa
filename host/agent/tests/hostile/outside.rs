//! Kinds that reach outside of the network: what they are granted by name, and
//! nothing else.

use std::{
    fs,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hulynet_agent::{AgentConfig, ContainerLimits, Grants};
use hulynet_protocol::{ErrorKind, KindState, NetworkError};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    stage::Stage,
    support::{kind, listen, logged},
};

/// A host of the web on loopback, and how often it was connected to.
struct Host {
    address: SocketAddr,
    connected: Arc<AtomicUsize>,
}

impl Host {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connected = Arc::new(AtomicUsize::new(0));
        let count = connected.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                // Whoever asks may hang up at any time.
                tokio::spawn(async move { answer(stream).await.unwrap_or_default() });
            }
        });
        Self { address, connected }
    }

    fn name(&self) -> String {
        self.address.to_string()
    }
}

async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut asked = Vec::new();
    let complete = |asked: &[u8]| {
        asked.ends_with(if asked.starts_with(b"GET") { b"\r\n\r\n" } else { b"\r\n0\r\n\r\n" })
    };
    while !complete(&asked) {
        if stream.read_buf(&mut asked).await? == 0 {
            return Ok(());
        }
        // Whoever begins a handshake of TLS is told that this is none.
        if asked.first() == Some(&0x16) {
            return stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    }
    let asked = String::from_utf8_lossy(&asked);
    match asked.split(' ').nth(1).unwrap() {
        "/moved" => {
            let head = b"HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(head).await
        }
        "/large" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n").await?;
            stream.write_all(&[b'x'; 1000]).await
        }
        "/endless" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
            loop {
                stream.write_all(b"4\r\nmore\r\n").await?;
            }
        }
        "/silent" => std::future::pending().await,
        _ => {
            let host = asked.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", host.len());
            stream.write_all(format!("{head}{host}").as_bytes()).await
        }
    }
}

/// The kind `fetch`, granted these hosts.
fn granted(hosts: &str, private: bool) -> impl FnOnce(&mut AgentConfig) + use<> {
    let asks = format!("http = {hosts}\nprivate-addresses = {private}\n");
    move |config| {
        fs::copy(kind("fetch"), config.plugins.join("fetch.wasm")).unwrap();
        let manifest = format!("[asks]\n{asks}");
        fs::write(config.plugins.join("fetch.toml"), manifest).unwrap();
        let grants =
            format!("[default]\ncontainers = [\"*\"]\ndocuments = true\n[kind.fetch]\n{asks}");
        config.grants = Arc::new(Grants::parse("grants.toml", &grants).unwrap());
    }
}

async fn post(
    stage: &Stage,
    tls: bool,
    host: &str,
    path: &str,
    bytes: usize,
) -> Result<String, NetworkError> {
    let arguments = format!("[{tls}, {host:?}, {path:?}, {bytes}]");
    let answer = stage.beside(stage.ask("fetch", "fetch", "post", &arguments)).await?;
    Ok(String::from_utf8(answer.to_vec()).unwrap())
}

/// The code of the refusal.
async fn refused(stage: &Stage, host: &str, path: &str, bytes: usize) -> String {
    let error = post(stage, false, host, path, bytes).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Application, "{error}");
    error.message
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kind_that_sends_requests_outside_and_is_granted_no_host_is_refused_when_it_is_loaded() {
    let copy = |config: &mut AgentConfig| {
        fs::copy(kind("fetch"), config.plugins.join("fetch.wasm")).unwrap();
    };
    let stage = Stage::new(copy).await;
    let report = stage.report("fetch").await;
    assert_eq!(report.state, KindState::Refused);
    let reason = report.reason.unwrap();
    assert!(reason.contains("asks for http = [\"*\"]"), "{reason}");
    assert!(
        reason.contains("under [kind.fetch] and one a line, and start it again: http = [\"*\"]"),
        "{reason}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_granted_host_answers_and_any_other_is_refused_and_not_connected_to() {
    listen();
    let (host, other) = (Host::start().await, Host::start().await);
    let name = host.name();
    let stage = Stage::new(granted(&format!("[{name:?}]"), true)).await;
    stage.start("fetch").await.unwrap();
    assert_eq!(post(&stage, false, &name, "/", 0).await.unwrap(), format!("[200,{name:?}]"));
    assert_eq!(post(&stage, false, &name, "/", 10_000).await.unwrap(), format!("[200,{name:?}]"));
    assert_eq!(post(&stage, false, &name, "/moved", 0).await.unwrap(), "[302,\"\"]");
    let denied = refused(&stage, &other.name(), "/", 0).await;
    assert!(denied.contains("HttpRequestDenied"), "{denied}");
    logged(&format!("it may not send requests to {}; add it to http", other.name())).await;
    // The same address by another name.
    let alias = format!("localhost:{}", host.address.port());
    assert!(refused(&stage, &alias, "/", 0).await.contains("HttpRequestDenied"));
    assert_eq!(other.connected.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_not_public_is_refused_by_whatever_name_it_is_called() {
    listen();
    let host = Host::start().await;
    let stage = Stage::new(granted("[\"*\"]", false)).await;
    stage.start("fetch").await.unwrap();
    let port = host.address.port();
    for name in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "[::1]"] {
        let prohibited = refused(&stage, &format!("{name}:{port}"), "/", 0).await;
        assert!(prohibited.contains("DestinationIpProhibited"), "{name}: {prohibited}");
    }
    logged(&format!("it may not send requests to localhost:{port}, which has no public")).await;
    assert_eq!(host.connected.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_end_at_their_limit_and_answers_in_time() {
    let host = Host::start().await;
    let name = host.name();
    let grants = granted(&format!("[{name:?}]"), true);
    let stage = Stage::new(|config| {
        grants(config);
        config.limits.http_bytes = 10_000;
        config.limits.http_time = Duration::from_millis(500);
    })
    .await;
    stage.start("fetch").await.unwrap();
    for (path, bytes, code) in [
        ("/", 10_001, "HttpRequestBodySize(Some(10000))"),
        ("/large", 0, "HttpResponseBodySize(Some(10000))"),
        ("/endless", 0, "HTTP response body size exceeds limit: 10000 bytes"),
        ("/silent", 0, "HttpResponseTimeout"),
    ] {
        let refusal = refused(&stage, &name, path, bytes).await;
        assert!(refusal.contains(code), "{path}: {refusal}");
    }
    assert_eq!(post(&stage, false, &name, "/", 0).await.unwrap(), format!("[200,{name:?}]"));
}

/// A container with these limits that asks a host until it is refused, and reads
/// no answer; tells how often it asked.
async fn hoarding(limit: impl FnOnce(&mut ContainerLimits)) -> (Stage, Host, usize) {
    listen();
    let host = Host::start().await;
    let name = host.name();
    let grants = granted(&format!("[{name:?}]"), true);
    let stage = Stage::new(|config| {
        grants(config);
        limit(&mut config.limits);
    })
    .await;
    stage.start("fetch").await.unwrap();
    let hoard = format!("[{name:?}]");
    let answer = stage.beside(stage.ask("fetch", "fetch", "hoard", &hoard)).await.unwrap();
    let (held, refusal): (usize, String) = serde_json::from_slice(&answer).unwrap();
    assert!(refusal.contains("ConnectionLimitReached"), "{refusal}");
    (stage, host, held)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_outside_count_among_those_that_are_waited_for() {
    let (stage, host, held) = hoarding(|limits| limits.outgoing = 3).await;
    assert_eq!(held, 3);
    logged("fetch/fetch waits for 3 answers of others").await;
    // What was dropped is free again.
    let name = host.name();
    assert_eq!(post(&stage, false, &name, "/", 0).await.unwrap(), format!("[200,{name:?}]"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_outside_count_among_the_calls_of_others() {
    let (_stage, _host, held) = hoarding(|limits| limits.calls = 1).await;
    // The burst, and one for each second that it took.
    assert!((10..20).contains(&held), "{held}");
    logged("fetch/fetch calls others more often than it may").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_does_not_prove_who_it_is_gets_no_request() {
    let host = Host::start().await;
    let name = host.name();
    let stage = Stage::new(granted(&format!("[{name:?}]"), true)).await;
    stage.start("fetch").await.unwrap();
    let error = post(&stage, true, &name, "/", 0).await.unwrap_err();
    assert!(error.message.contains("TlsProtocolError"), "{error}");
}
