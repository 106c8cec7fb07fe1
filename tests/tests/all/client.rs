//! A client in place of an API server: TLS with the host's authority, HTTP/2 or HTTP/1.1.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ALL_VERSIONS, ClientConfig, RootCertStore, SupportedProtocolVersion};
use serde_json::Value;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

pub(crate) const PROTOCOLS: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];

/// A client that trusts one host.
#[derive(Clone)]
pub(crate) struct Client {
    address: SocketAddr,
    roots: RootCertStore,
    shows: Option<(String, String)>,
    name: &'static str,
    from: Option<IpAddr>,
}

/// An open connection.
pub(crate) enum Connection {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// A complete response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) content_type: String,
    pub(crate) retry_after: Option<String>,
    pub(crate) connection: Option<String>,
    pub(crate) body: Bytes,
}

impl Client {
    pub(crate) fn new(address: SocketAddr, ca: &str) -> Self {
        let mut roots = RootCertStore::empty();
        for ca in CertificateDer::pem_slice_iter(ca.as_bytes()) {
            roots.add(ca.expect("PEM")).expect("an authority");
        }
        Self {
            address,
            roots,
            shows: None,
            name: "localhost",
            from: None,
        }
    }

    /// Expects a certificate for this name instead of localhost.
    pub(crate) fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    /// Presents a client certificate with this key (PEM).
    pub(crate) fn showing(&self, certificate: String, key: String) -> Self {
        Self {
            shows: Some((certificate, key)),
            ..self.clone()
        }
    }

    /// Connects from this address of the loopback interface.
    pub(crate) fn from(&self, address: impl Into<IpAddr>) -> Self {
        Self {
            from: Some(address.into()),
            ..self.clone()
        }
    }

    /// Opens a TCP connection without TLS; fails where the host refuses it.
    pub(crate) async fn try_tcp(&self) -> std::io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        if let Some(from) = self.from {
            socket.bind(SocketAddr::new(from, 0))?;
        }
        let stream = socket.connect(self.address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// Completes a handshake and sends nothing.
    pub(crate) async fn handshake(&self, protocol: Protocol) -> TlsStream<TcpStream> {
        self.try_handshake(protocol, ALL_VERSIONS)
            .await
            .expect("a handshake")
    }

    /// Attempts a handshake. With TLS 1.3, the host's refusal of a client shows only at the first
    /// read.
    pub(crate) async fn try_handshake(
        &self,
        protocol: Protocol,
        versions: &[&'static SupportedProtocolVersion],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .expect("ring supports them")
            .with_root_certificates(self.roots.clone());
        let mut config = match &self.shows {
            None => config.with_no_client_auth(),
            Some((certificate, key)) => {
                let certificate =
                    CertificateDer::from_pem_slice(certificate.as_bytes()).expect("PEM");
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
                config
                    .with_client_auth_cert(vec![certificate], key)
                    .expect("they fit")
            }
        };
        let alpn: &[u8] = match protocol {
            Protocol::Http1 => b"http/1.1",
            Protocol::Http2 => b"h2",
        };
        config.alpn_protocols = vec![alpn.to_vec()];
        let stream = self.try_tcp().await?;
        let name = ServerName::try_from(self.name).expect("a name");
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await?;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(alpn));
        Ok(stream)
    }

    pub(crate) async fn connect(&self, protocol: Protocol) -> Connection {
        Connection::over(self.handshake(protocol).await, protocol)
            .await
            .expect("HTTP")
    }

    /// Sends one AdmissionReview on a connection of its own.
    pub(crate) async fn post(
        &self,
        protocol: Protocol,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Reply {
        self.connect(protocol).await.post(path, body).await
    }

    /// Sends one request on a connection of its own.
    pub(crate) async fn send(&self, protocol: Protocol, request: Request<Full<Bytes>>) -> Reply {
        self.connect(protocol).await.send(request).await
    }
}

impl Connection {
    /// Starts the protocol on a stream; `None` when the host closes it meanwhile.
    pub(crate) async fn over(stream: TlsStream<TcpStream>, protocol: Protocol) -> Option<Self> {
        let stream = TokioIo::new(stream);
        match protocol {
            Protocol::Http1 => {
                let (sender, connection) = http1::handshake(stream).await.ok()?;
                tokio::spawn(connection);
                Some(Self::Http1(sender))
            }
            Protocol::Http2 => {
                let (sender, connection) =
                    http2::handshake(TokioExecutor::new(), stream).await.ok()?;
                tokio::spawn(connection);
                Some(Self::Http2(sender))
            }
        }
    }

    /// Returns true when the connection takes another request.
    pub(crate) async fn is_ready(&mut self) -> bool {
        match self {
            Self::Http1(sender) => sender.ready().await.is_ok(),
            Self::Http2(sender) => sender.ready().await.is_ok(),
        }
    }

    /// Sends one request; fails when the connection does.
    pub(crate) async fn try_send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Reply> {
        let response = match self {
            Self::Http1(sender) => sender.send_request(request).await,
            Self::Http2(sender) => sender.send_request(request).await,
        };
        Ok(Reply::read(response?).await)
    }

    /// Sends one AdmissionReview.
    pub(crate) async fn post(&mut self, path: &str, body: impl Into<Bytes>) -> Reply {
        self.send(request("POST", path, "application/json", body))
            .await
    }

    pub(crate) async fn send(&mut self, request: Request<Full<Bytes>>) -> Reply {
        let response = match self {
            Self::Http1(sender) => {
                sender.ready().await.expect("the connection is open");
                sender.send_request(request).await
            }
            Self::Http2(sender) => sender.send_request(request).await,
        };
        Reply::read(response.expect("a response")).await
    }
}

/// Builds a request for both protocols, with the authority in the URI and in `Host`.
pub(crate) fn request(
    method: &str,
    path: &str,
    content_type: &str,
    body: impl Into<Bytes>,
) -> Request<Full<Bytes>> {
    let request = Request::builder()
        .method(method)
        .uri(format!("https://localhost{path}"));
    let request = request
        .header("host", "localhost")
        .header("content-type", content_type);
    request
        .body(Full::new(body.into()))
        .expect("a valid request")
}

/// Returns an admin port's whole response, head and body.
pub(crate) async fn probe(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}

impl Reply {
    async fn read(response: Response<Incoming>) -> Self {
        let (head, body) = response.into_parts();
        let header = |name| {
            head.headers
                .get(name)
                .map(|found| found.to_str().expect("text").to_owned())
        };
        Self {
            status: head.status,
            content_type: header("content-type").unwrap_or_default(),
            retry_after: header("retry-after"),
            connection: header("connection"),
            body: body.collect().await.expect("a whole body").to_bytes(),
        }
    }

    /// Parses the body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Returns the body as text, without its line end.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8").trim_end()
    }
}
