//! `http`: requests to other hosts by `wasi:http`, to those that are granted.
//!
//! A host is checked twice: by its name, before that is resolved, and by each
//! address that the name stands for, before that very address is connected to,
//! so that nobody can point a name at the operator's own network. How many
//! requests there are at a time, how large their bodies are and how long they
//! take is limited. A redirection is an answer like any other: whoever follows
//! it asks anew. While a container waits for an answer in `wasi:io`, it does
//! nothing else: that is how WASI 0.2 waits.

mod address;
mod body;
mod exchange;

use std::{future, sync::Arc, time::Instant};

use hulynet_agent_kinds::Capability;
use hyper::{
    Method, Request, Response, Uri,
    http::uri::{Authority, Scheme},
};
use wasmtime::component::ResourceTable;
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

use self::exchange::{Bounds, Lookups, exchange};
#[cfg(test)]
pub(crate) use self::exchange::{HEAD, OWN_LOOKUPS};
use super::{Context, Services, log::Gate, usage::Usage};
use crate::bindings::huly::network::log::Level;

/// An answer, and what keeps its connection alive.
type Answered = Result<(Response<WasiBody>, Sent), Error>;
/// Whatever goes on until the answer is complete.
type Sent = Box<dyn Future<Output = Result<(), Error>> + Send>;

/// What the requests of one container go through.
pub(crate) struct Http {
    wasi: WasiHttpCtx,
    door: Door,
}

impl Http {
    pub(super) fn new(services: Arc<Services>, usage: Arc<Usage>, log: Gate) -> Self {
        let door = Door { services, usage, log, lookups: Lookups::default() };
        Self { wasi: WasiHttpCtx::new(), door }
    }

    fn view<'a>(&'a mut self, table: &'a mut ResourceTable) -> WasiHttpCtxView<'a> {
        WasiHttpCtxView { hooks: &mut self.door, table, ctx: &mut self.wasi }
    }
}

impl WasiHttpView for Context {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let http = self.http.get_or_insert_with(|| {
            Box::new(Http::new(self.services.clone(), self.usage.clone(), self.log.clone()))
        });
        http.view(&mut self.table)
    }
}

struct Door {
    services: Arc<Services>,
    usage: Arc<Usage>,
    log: Gate,
    lookups: Lookups,
}

impl Door {
    /// Checks a request by its host's name and against the limits.
    fn admit(
        &self,
        request: &Request<WasiBody>,
        options: RequestOptions,
    ) -> Result<(Destination, Bounds), Error> {
        if request.method() == Method::CONNECT {
            // A tunnel goes wherever its other end likes.
            return Err(Error::HttpRequestMethodInvalid);
        }
        let to = Destination::of(request.uri()).ok_or(Error::HttpRequestUriInvalid)?;
        let terms = &self.services.terms;
        let name = to.name();
        if !to.names().iter().any(|name| terms.allow(Capability::Http, name)) {
            self.warn(format!(
                "it may not send requests to {name}; add it to http in its manifest's [asks] and in the \
                 agent's grants, and start the agent again"
            ));
            return Err(Error::HttpRequestDenied);
        }
        let calling = self.usage.call(Instant::now(), 0).map_err(|error| {
            self.warn(error.message);
            Error::ConnectionLimitReached
        })?;
        let limits = &self.services.limits;
        let bounds = Bounds {
            bytes: limits.http_bytes,
            until: Instant::now() + limits.http_time,
            private: terms.has(Capability::PrivateAddresses),
            options,
            lookups: self.lookups.clone(),
            calling,
        };
        Ok((to, bounds))
    }

    /// The kind's author sees only a code of WASI; the log has the remedy.
    fn warn(&self, why: String) {
        self.log.write(Level::Warn, why, &[]);
    }
}

impl WasiHttpHooks for Door {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _received: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Answered> + Send> {
        let (to, bounds) = match self.admit(&request, options.unwrap_or_default()) {
            Ok(admitted) => admitted,
            Err(error) => return Box::new(future::ready(Err(error))),
        };
        let log = self.log.clone();
        Box::new(async move {
            let name = to.name();
            let answered = exchange(request, to, bounds).await;
            if let Err(Error::DestinationIpProhibited) = answered {
                let why = format!(
                    "it may not send requests to {name}, which has no public address; add \
                     private-addresses = true to its manifest's [asks] and to the agent's grants, \
                     and start the agent again"
                );
                log.write(Level::Warn, why, &[]);
            }
            answered
        })
    }
}

/// Where a request goes.
#[derive(Debug, PartialEq, Eq)]
struct Destination {
    /// A name in lower case, or an address.
    host: String,
    port: u16,
    tls: bool,
}

impl Destination {
    /// Whom an absolute URI names; `None` for one that names nobody, or a user
    /// besides.
    fn of(uri: &Uri) -> Option<Self> {
        let authority = uri.authority().map(Authority::as_str).filter(|text| !text.contains('@'));
        let tls = uri.scheme() == Some(&Scheme::HTTPS);
        let port = match authority?.rsplit_once(':') {
            Some((_, port)) if !port.ends_with(']') => port.parse().ok()?,
            _ => Self::default_port(tls),
        };
        let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let host = host.strip_suffix('.').unwrap_or(&host).to_owned();
        (!host.is_empty()).then_some(Self { host, port, tls })
    }

    const fn default_port(tls: bool) -> u16 {
        if tls { 443 } else { 80 }
    }

    /// What it may be granted as: alone with the usual port, and with each one.
    fn names(&self) -> Vec<String> {
        let host =
            if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let with_port = format!("{host}:{}", self.port);
        if self.port == Self::default_port(self.tls) {
            vec![host, with_port]
        } else {
            vec![with_port]
        }
    }

    /// What it is called in messages.
    fn name(&self) -> String {
        self.names().swap_remove(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_granted_by_its_name_and_by_its_port_where_that_is_unusual() {
        for (uri, name) in [
            ("https://API.Example.com/x?y=z", "api.example.com"),
            ("https://example.com.:443/", "example.com"),
            ("https://example.com:80/", "example.com:80"),
            ("http://example.com:80/", "example.com"),
            ("http://example.com:8080/", "example.com:8080"),
            ("http://[::1]/", "[::1]"),
            ("http://[::1]:81/", "[::1]:81"),
            ("http://127.0.0.1:81/", "127.0.0.1:81"),
        ] {
            assert_eq!(Destination::of(&uri.parse().unwrap()).unwrap().name(), name, "{uri}");
        }
    }

    #[test]
    fn who_grants_a_port_grants_one_of_the_two_usual_ones() {
        let names = |uri: &str| Destination::of(&uri.parse().unwrap()).unwrap().names();
        assert_eq!(names("https://example.com/"), ["example.com", "example.com:443"]);
        assert_eq!(names("http://example.com/"), ["example.com", "example.com:80"]);
        assert_eq!(names("http://example.com:443/"), ["example.com:443"]);
    }

    #[test]
    fn whoever_hides_the_host_names_nobody() {
        for uri in
            ["https://granted.example@other.example/", "/path", "https://x:99999/", "https://./"]
        {
            let named = uri.parse().ok().and_then(|uri| Destination::of(&uri));
            assert_eq!(named, None, "{uri}");
        }
    }
}
