//! HTTP/1.1 to registries: connections, TLS, deadlines and sizes. One request at a time.
//!
//! Invariants: no wait is longer than the time that a registry may stay silent; no answer is read
//! beyond the size that its caller expects; nothing is sent to an address that `address` forbids.

use super::address::{Origin, Url, forbidden, is_loopback};
use super::error::{Reason, RegistryError};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_LENGTH, HOST, USER_AGENT};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, InvalidMessage};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The most bytes of the body of an error, which is only quoted.
const MAX_ERROR_BODY: usize = 16 << 10;

/// The most bytes of an answer's head.
const MAX_HEAD: usize = 64 << 10;

/// The time for which an idle connection is kept. Registries keep theirs for a minute or more.
const KEEP: Duration = Duration::from_secs(20);

/// The client's side of all connections.
pub(super) struct Transport {
    tls: Arc<ClientConfig>,
    /// The longest time for which a server may send nothing.
    patience: Duration,
    idle: Mutex<HashMap<Origin, Idle>>,
}

type Sender = SendRequest<Full<Bytes>>;

struct Idle {
    sender: Sender,
    since: Instant,
}

/// An answer, read whole.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// A request without its address.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The most bytes of a successful answer.
    pub(super) limit: usize,
}

impl Transport {
    pub(super) fn new(tls: Arc<ClientConfig>, patience: Duration) -> Self {
        Self {
            tls,
            patience,
            idle: Mutex::default(),
        }
    }

    /// Sends a request and reads the answer. Redirects are not followed. `from` is the registry
    /// that the request is for; it decides whether a request may go to this machine.
    pub(super) async fn exchange(
        &self,
        url: &Url,
        from: &Origin,
        ask: &Ask,
    ) -> Result<Reply, RegistryError> {
        if let Some(sender) = self.kept(&url.origin) {
            let is_repeatable = matches!(ask.method, Method::GET | Method::HEAD);
            match self.send(sender, url, ask).await {
                // The server may have closed the connection meanwhile.
                Err(error) if error.reason == Reason::Unreachable && is_repeatable => {}
                done => return done,
            }
        }
        let sender = self.connect(&url.origin, from).await?;
        self.send(sender, url, ask).await
    }

    /// Returns true if a server on this machine speaks TLS.
    pub(super) async fn speaks_tls(&self, origin: &Origin) -> Result<bool, RegistryError> {
        let stream = self.tcp(origin, origin).await?;
        match self.handshake(origin, stream).await {
            Ok(_) => Ok(true),
            Err(error) => match tls_error(&error) {
                Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
                    Ok(false)
                }
                // A server that closes at once did not understand.
                None if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
                None if error.kind() == io::ErrorKind::ConnectionReset => Ok(false),
                _ => Err(self.no_tls(origin, &error)),
            },
        }
    }

    fn kept(&self, origin: &Origin) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let Idle { sender, since } = idle.remove(origin)?;
        (!sender.is_closed() && since.elapsed() < KEEP).then_some(sender)
    }

    fn keep(&self, origin: &Origin, sender: Sender) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|_, idle| idle.since.elapsed() < KEEP);
        let since = Instant::now();
        idle.insert(origin.clone(), Idle { sender, since });
    }

    async fn connect(&self, origin: &Origin, from: &Origin) -> Result<Sender, RegistryError> {
        let stream = self.tcp(origin, from).await?;
        let broken = |error: hyper::Error| unreachable(origin, &error);
        if !origin.is_https {
            let mut builder = hyper::client::conn::http1::Builder::new();
            let (sender, connection) = builder
                .max_buf_size(MAX_HEAD)
                .handshake(TokioIo::new(stream))
                .await
                .map_err(broken)?;
            // Errors of the connection reach its requests too.
            tokio::spawn(async move { drop(connection.await) });
            return Ok(sender);
        }
        let stream = self.handshake(origin, stream).await;
        let stream = stream.map_err(|error| self.no_tls(origin, &error))?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(broken)?;
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }

    async fn tcp(&self, origin: &Origin, from: &Origin) -> Result<TcpStream, RegistryError> {
        let addresses = self.resolve(origin, from).await?;
        let mut last = None;
        for address in addresses {
            match timeout(self.patience, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = Some(unreachable(origin, &error)),
                Err(_) => last = Some(self.stalled(origin, "does not accept a connection")),
            }
        }
        Err(last.unwrap_or_else(|| {
            let message = format!("{origin}: no address is known for it");
            RegistryError::new(Reason::Unreachable, message)
        }))
    }

    /// Resolves a server to the addresses that a request may go to.
    async fn resolve(
        &self,
        origin: &Origin,
        from: &Origin,
    ) -> Result<Vec<SocketAddr>, RegistryError> {
        let found: Vec<_> = if let Ok(address) = origin.host.parse::<IpAddr>() {
            vec![(address, origin.port).into()]
        } else {
            let look = tokio::net::lookup_host((origin.host.as_str(), origin.port));
            match timeout(self.patience, look).await {
                Ok(Ok(found)) => found.collect(),
                Ok(Err(error)) => {
                    let message = format!("{origin}: its name can't be resolved: {error}");
                    return Err(RegistryError::new(Reason::Unreachable, message));
                }
                Err(_) => return Err(self.stalled(origin, "can't be resolved in time")),
            }
        };
        for address in &found {
            let problem = match forbidden(address.ip()) {
                Some(problem) => problem,
                None if is_loopback(address.ip()) && !from.is_loopback() && origin != from => {
                    "this machine, and the registry is another one"
                }
                None if !origin.is_https && !is_loopback(address.ip()) => {
                    "another machine, which is asked by https only"
                }
                None => continue,
            };
            let address = address.ip();
            let message = format!("{origin} is not asked: {address} is {problem}");
            return Err(RegistryError::new(Reason::Redirect, message));
        }
        Ok(found)
    }

    async fn handshake(&self, origin: &Origin, tcp: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(origin.host.clone()).map_err(io::Error::other)?;
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        timeout(self.patience, connector.connect(name, tcp))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    fn no_tls(&self, origin: &Origin, error: &io::Error) -> RegistryError {
        if error.kind() == io::ErrorKind::TimedOut {
            return self.stalled(origin, "does not answer the TLS handshake");
        }
        let fix = match tls_error(error) {
            Some(rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer)) => {
                "; if its authority is yours, name its certificate with --registry-ca"
            }
            _ => "",
        };
        let message = format!("{origin}: no TLS connection: {error}{fix}");
        RegistryError::new(Reason::Unreachable, message)
    }

    async fn send(&self, mut sender: Sender, url: &Url, ask: &Ask) -> Result<Reply, RegistryError> {
        let origin = &url.origin;
        let request = request(url, ask)?;
        let exchange = async {
            sender.ready().await?;
            sender.send_request(request).await
        };
        // A large body takes time to send, during which the server sends nothing.
        let allowance = Duration::from_secs(ask.body.len() as u64 / MIN_UPLOAD);
        let response = timeout(self.patience + allowance, exchange)
            .await
            .map_err(|_| self.stalled(origin, "does not answer"))?
            .map_err(|error| unreachable(origin, &error))?;
        let (head, whole) = self.read(origin, response, ask).await?;
        if whole.is_whole {
            self.keep(origin, sender);
        }
        Ok(Reply {
            status: head.status,
            headers: head.headers,
            body: whole.bytes,
        })
    }

    async fn read(
        &self,
        origin: &Origin,
        response: Response<Incoming>,
        ask: &Ask,
    ) -> Result<(hyper::http::response::Parts, Body), RegistryError> {
        let (head, mut body) = response.into_parts();
        let is_success = head.status.is_success();
        let limit = if is_success {
            ask.limit
        } else {
            MAX_ERROR_BODY
        };
        let too_large = |found: String| {
            let message = format!("{origin} sends {found}, and at most {limit} are read");
            RegistryError::new(Reason::TooLarge, message)
        };
        let announced = head.headers.get(CONTENT_LENGTH);
        let announced = announced.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if let Some(bytes) = announced.filter(|bytes| *bytes > limit as u64)
            && is_success
            && ask.method != Method::HEAD
        {
            return Err(too_large(format!("{bytes} bytes")));
        }
        let mut bytes = vec![];
        loop {
            let frame = timeout(self.patience, body.frame())
                .await
                .map_err(|_| self.stalled(origin, "stops in the middle of an answer"))?;
            let Some(frame) = frame else { break };
            let frame = frame.map_err(|error| unreachable(origin, &error))?;
            let Some(data) = frame.data_ref() else {
                continue;
            };
            if bytes.len() + data.len() > limit {
                if is_success {
                    return Err(too_large("more than that".to_owned()));
                }
                let is_whole = false;
                return Ok((head, Body { bytes, is_whole }));
            }
            bytes.extend_from_slice(data);
        }
        let is_whole = true;
        Ok((head, Body { bytes, is_whole }))
    }

    fn stalled(&self, origin: &Origin, what: &str) -> RegistryError {
        let patience = self.patience;
        let message = format!("{origin} {what} within {patience:?}");
        RegistryError::new(Reason::Stalled, message)
    }
}

/// The slowest upload that does not time out, in bytes a second.
const MIN_UPLOAD: u64 = 64 << 10;

struct Body {
    bytes: Vec<u8>,
    /// True if the answer was read to its end, so that the connection can be used again.
    is_whole: bool,
}

fn request(url: &Url, ask: &Ask) -> Result<Request<Full<Bytes>>, RegistryError> {
    let mut builder = Request::builder()
        .method(ask.method.clone())
        .uri(&url.path)
        .header(HOST, url.origin.authority())
        .header(USER_AGENT, concat!("sallyport/", env!("CARGO_PKG_VERSION")));
    for (name, value) in &ask.headers {
        builder = builder.header(name, value);
    }
    let body = Full::new(ask.body.clone());
    builder.body(body).map_err(|error| {
        RegistryError::malformed(format!("{}: no usable request: {error}", url.origin))
    })
}

/// Says what failed: an error of hyper has the cause in its source.
fn unreachable(origin: &Origin, error: &(dyn std::error::Error + 'static)) -> RegistryError {
    let cause = error
        .source()
        .map_or_else(String::new, |cause| format!(": {cause}"));
    RegistryError::new(Reason::Unreachable, format!("{origin}: {error}{cause}"))
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref::<rustls::Error>()
}
