//! A proxy between us and the web, when the settings name one: `CONNECT` for https, whole urls for http.

use laioncele_core::{DropReason, StageError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::Url;

use crate::failure::Failure;
use crate::head::{self, HeadEnd};
use crate::target::Origin;

/// An HTTP proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proxy {
    host: String,
    port: u16,
}

/// Bytes of a proxy's answer to `CONNECT` at most.
const MAX_HEAD: usize = 64 << 10;

impl Proxy {
    /// Reads `http://HOST:PORT`.
    ///
    /// # Errors
    /// It is something else.
    pub(crate) fn parse(text: &str) -> Result<Self, StageError> {
        let wrong = || StageError::environment(ProxyError(text.to_owned()));
        let url = Url::parse(text).map_err(|_| wrong())?;
        let host = url.host_str().filter(|_| url.scheme() == "http");
        Ok(Self {
            host: host.ok_or_else(wrong)?.trim_matches(['[', ']']).to_owned(),
            port: url.port_or_known_default().ok_or_else(wrong)?,
        })
    }

    /// A connection through the proxy: to `origin` itself for https, to the proxy for http.
    pub(crate) async fn connect(&self, origin: &Origin) -> Result<TcpStream, Failure> {
        let failed = |error: std::io::Error| Failure::cut_off(format!("proxy: {error}"));
        let mut tcp = TcpStream::connect((self.host.as_str(), self.port))
            .await
            .map_err(failed)?;
        if !origin.tls {
            return Ok(tcp);
        }
        let authority = format!("{}:{}", origin.host, origin.port);
        let request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
        tcp.write_all(request.as_bytes()).await.map_err(failed)?;
        let (mut bytes, mut end) = (Vec::new(), HeadEnd::default());
        // Byte by byte, so that nothing of the tunnel is swallowed.
        while end.find(&bytes).is_none() {
            if bytes.len() > MAX_HEAD {
                return Err(Failure::malformed("proxy: endless head"));
            }
            bytes.push(tcp.read_u8().await.map_err(failed)?);
        }
        match head::parse(&bytes) {
            Ok(head) if (200..300).contains(&head.status) => Ok(tcp),
            Ok(head) => Err(Failure::passing(
                DropReason::Connect,
                format!("proxy: {}", head.status),
            )),
            Err(why) => Err(Failure::malformed(format!("proxy: {why}"))),
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("proxy = {0:?} is no http://HOST:PORT")]
struct ProxyError(String);
