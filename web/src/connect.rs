//! Opens connections: to checked addresses only, one after the other until one answers.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use laioncele_core::{DropReason, StageError};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::Host;

use crate::failure::Failure;
use crate::patience::{self, Patience};
use crate::proxy::Proxy;
use crate::resolver::Resolver;
use crate::stream::Stream;
use crate::target::Origin;

/// Opens connections to origins.
pub(crate) struct Connector {
    resolver: Resolver,
    /// Offers HTTP/2 and HTTP/1.1.
    tls: TlsConnector,
    /// Offers HTTP/1.1 alone.
    tls_http1: TlsConnector,
    proxy: Option<Proxy>,
    limit: Duration,
}

/// The versions of HTTP that a server may choose from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    Http1,
    Http2,
}

/// Addresses of a host that have time to say nothing.
const SILENT: usize = 4;
/// The least time for one address of several.
const EACH: Duration = Duration::from_secs(1);

impl Connector {
    /// `limit` is for one connection, TLS included.
    ///
    /// # Errors
    /// No certificate store.
    pub(crate) fn new(
        resolver: Resolver,
        proxy: Option<Proxy>,
        limit: Duration,
    ) -> Result<Self, StageError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(BuilderVerifierExt::with_platform_verifier)
            .map_err(StageError::environment)?
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let http1 = config.clone();
        config.alpn_protocols.insert(0, b"h2".to_vec());
        Ok(Self {
            resolver,
            tls: Arc::new(config).into(),
            tls_http1: Arc::new(http1).into(),
            proxy,
            limit,
        })
    }

    /// Checks what needs no lookup; see [`Resolver::check_literal`].
    ///
    /// # Errors
    /// `blocked_address`.
    pub(crate) fn check(&self, origin: &Origin) -> Result<(), Failure> {
        self.resolver.check_literal(&origin.host)
    }

    /// Where requests in plain text are sent instead of to their origins.
    pub(crate) fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref()
    }

    /// A new connection to `origin`.
    ///
    /// # Errors
    /// `dns`, `blocked_address`, `connect`, `tls`, `timeout`.
    pub(crate) async fn connect(
        &self,
        origin: &Origin,
        offer: Offer,
        patience: &mut Patience,
    ) -> Result<Stream, Failure> {
        let (host, port) = (&origin.host, origin.port);
        let found = self.resolver.addresses(host, port, patience).await;
        let addresses = match (&self.proxy, found) {
            // A host without an address here may have one where the proxy is.
            (Some(_), Err(failure)) if failure.reason == DropReason::Dns => Vec::new(),
            (_, found) => found?,
        };
        let opening = timeout(self.limit, self.open(origin, offer, &addresses));
        let opened = patience.bound("connecting", opening).await?;
        opened.unwrap_or_else(|_| Err(patience::timeout("connecting", self.limit)))
    }

    async fn open(
        &self,
        origin: &Origin,
        offer: Offer,
        addresses: &[SocketAddr],
    ) -> Result<Stream, Failure> {
        let tcp = match &self.proxy {
            None => self.reach(addresses).await?,
            Some(proxy) => proxy.connect(origin).await?,
        };
        // Requests are one write; waiting for more would only delay them.
        let _ = tcp.set_nodelay(true);
        if origin.tls {
            self.secure(origin, offer, tcp).await
        } else {
            Ok(Stream::Plain(tcp))
        }
    }

    async fn reach(&self, addresses: &[SocketAddr]) -> Result<TcpStream, Failure> {
        // One that is refused costs no time; only those that say nothing do.
        let each = match addresses.len() {
            1 => self.limit,
            n => (self.limit / n.min(SILENT) as u32).max(EACH),
        };
        let mut last = Failure::last(DropReason::Dns, "no address".to_owned());
        for address in addresses {
            last = match timeout(each, TcpStream::connect(address)).await {
                Ok(Ok(tcp)) => return Ok(tcp),
                Ok(Err(error)) => Failure::cut_off(format!("connecting: {error}")),
                Err(_) => patience::timeout("connecting", each),
            };
        }
        Err(last)
    }

    async fn secure(
        &self,
        origin: &Origin,
        offer: Offer,
        tcp: TcpStream,
    ) -> Result<Stream, Failure> {
        let name = match &origin.host {
            Host::Domain(name) => ServerName::try_from(name.trim_end_matches('.').to_owned())
                .map_err(|e| Failure::last(DropReason::Tls, e.to_string()))?,
            Host::Ipv4(v4) => ServerName::IpAddress((*v4).into()),
            Host::Ipv6(v6) => ServerName::IpAddress((*v6).into()),
        };
        let tls = match offer {
            Offer::Http2 => &self.tls,
            Offer::Http1 => &self.tls_http1,
        };
        match tls.connect(name, tcp).await {
            Ok(tls) => Ok(Stream::Tls(Box::new(tls))),
            Err(error) => Err(tls_failure(&error)),
        }
    }
}

/// What the handshake itself refuses is `tls`; a connection that breaks meanwhile is `connect`.
fn tls_failure(error: &io::Error) -> Failure {
    let rustls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match rustls {
        Some(error) => Failure::last(DropReason::Tls, error.to_string()),
        None => Failure::cut_off(format!("TLS handshake: {error}")),
    }
}
