//! Certificates are replaced while requests are served, and clients without a client certificate
//! are refused with an alert.

use crate::client::{Client, Connection, PROTOCOLS, Protocol, probe};
use crate::host::{Host, command, misbehaving};
use crate::program::{Program, directory, manifest, put};
use hyper::StatusCode;
use rcgen::{CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::{AlertDescription, SupportedProtocolVersion};
use sallyport::tls::{Clients, Identity};
use serde_json::json;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use tokio::task::JoinHandle;

/// An authority that a test creates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Self(
            CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key"))
                .expect("an authority"),
        )
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// Issues a certificate for a name; returns it with its key.
    fn issue(&self, name: &str, usage: ExtendedKeyUsagePurpose) -> (String, String) {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().expect("a key");
        (
            params
                .signed_by(&key, &self.0)
                .expect("a certificate")
                .pem(),
            key.serialize_pem(),
        )
    }

    fn server(&self) -> (String, String) {
        self.issue("localhost", ExtendedKeyUsagePurpose::ServerAuth)
    }

    pub(crate) fn client(&self, name: &str) -> (String, String) {
        self.issue(name, ExtendedKeyUsagePurpose::ClientAuth)
    }
}

/// Sends requests on lasting connections, and on a new one for each request, until it is stopped.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<usize>>,
}

impl Load {
    pub(crate) async fn start(client: &Client) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = vec![];
        for protocol in PROTOCOLS {
            let connection = client.connect(protocol).await;
            clients.push(tokio::spawn(Self::stay(connection, Arc::clone(&stop))));
            clients.push(tokio::spawn(Self::come_anew(
                client.clone(),
                protocol,
                Arc::clone(&stop),
            )));
        }
        Self { stop, clients }
    }

    async fn stay(mut connection: Connection, stop: Arc<AtomicBool>) -> usize {
        let mut requests = 0;
        while !stop.load(Ordering::Relaxed) {
            assert_eq!(
                connection
                    .post("/validate", command("nothing"))
                    .await
                    .status,
                StatusCode::OK
            );
            requests += 1;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        requests
    }

    async fn come_anew(client: Client, protocol: Protocol, stop: Arc<AtomicBool>) -> usize {
        let mut requests = 0;
        while !stop.load(Ordering::Relaxed) {
            assert_eq!(
                client
                    .post(protocol, "/validate", command("nothing"))
                    .await
                    .status,
                StatusCode::OK
            );
            requests += 1;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        requests
    }

    /// Stops the clients, and returns the number of requests of each. All of them were answered.
    pub(crate) async fn stop(self) -> Vec<usize> {
        self.stop.store(true, Ordering::Relaxed);
        let mut requests = vec![];
        for client in self.clients {
            requests.push(client.await.expect("every request is answered"));
        }
        requests
    }
}

/// Returns a directory with a certificate as tls.crt and tls.key.
fn mounted((certificate, key): &(String, String)) -> TempDir {
    let mount = tempfile::tempdir().expect("a directory");
    put(mount.path(), "tls.crt", certificate);
    put(mount.path(), "tls.key", key);
    mount
}

fn serve(policies: &TempDir, ca: &str, mount: &Path, more: &[&str]) -> Program {
    let file = |name: &str| mount.join(name).to_str().expect("UTF-8").to_owned();
    let (certificate, key) = (file("tls.crt"), file("tls.key"));
    let files = [
        "--tls-cert",
        &certificate,
        "--tls-key",
        &key,
        "--watch-interval",
        "50ms",
    ];
    Program::with_certificate(policies.path(), ca, &[&files, more].concat())
}

fn policies() -> TempDir {
    directory(&[("p.yaml", manifest("p", &json!({})))])
}

/// Returns the certificate (DER) that new connections get.
async fn shown(client: &Client, protocol: Protocol) -> Vec<u8> {
    let stream = client.handshake(protocol).await;
    stream
        .get_ref()
        .1
        .peer_certificates()
        .expect("a server shows one")[0]
        .to_vec()
}

/// Returns one series of `/metrics`.
pub(crate) async fn metric(host: &Program, series: &str) -> i64 {
    let text = probe(host.admin, "/metrics").await;
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or_else(|| panic!("no {series} in\n{text}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn new_certificate_files_serve_without_a_failed_request() {
    let authority = Authority::new();
    let mount = mounted(&authority.server());
    let host = serve(&policies(), &authority.pem(), mount.path(), &[]);
    let load = Load::start(&host.client).await;
    for reload in 1..=5 {
        let before = shown(&host.client, Protocol::Http1).await;
        let (certificate, key) = authority.server();
        put(mount.path(), "tls.crt", &certificate);
        put(mount.path(), "tls.key", &key);
        let began = Instant::now();
        while shown(&host.client, Protocol::Http1).await == before {
            assert!(
                began.elapsed() < Duration::from_secs(30),
                "reload {reload}: {}",
                host.log()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for protocol in PROTOCOLS {
            assert_ne!(shown(&host.client, protocol).await, before);
        }
    }
    let requests = load.stop().await;
    assert!(
        requests.iter().all(|requests| *requests > 5),
        "{requests:?}"
    );
    assert!(
        metric(
            &host,
            r#"sallyport_certificate_reload_total{result="success"}"#
        )
        .await
            >= 5
    );
    let year_3000 = 32_503_680_000;
    assert!(
        metric(
            &host,
            r#"sallyport_certificate_expiry_timestamp_seconds{certificate="server"}"#
        )
        .await
            > year_3000
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mismatched_key_keeps_the_old_certificate() {
    let authority = Authority::new();
    let mount = mounted(&authority.server());
    let host = serve(&policies(), &authority.pem(), mount.path(), &[]);
    let before = shown(&host.client, Protocol::Http2).await;
    let (certificate, key) = authority.server();
    put(mount.path(), "tls.crt", &certificate);
    let status = host
        .status_of_certificate(|status| status["lastReload"]["error"].is_string())
        .await;
    let error = status["lastReload"]["error"]
        .as_str()
        .expect("text")
        .to_owned();
    assert!(
        error.contains("tls.key: certificate and key can't be used together"),
        "{error}"
    );
    assert_eq!(shown(&host.client, Protocol::Http2).await, before);
    let ready = probe(host.admin, "/readyz?verbose").await;
    assert!(
        ready.starts_with("HTTP/1.1 200") && ready.contains("[-] certificate reload failed at"),
        "{ready}"
    );
    put(mount.path(), "tls.key", &key);
    host.status_of_certificate(|status| status["lastReload"]["error"].is_null())
        .await;
    assert_ne!(shown(&host.client, Protocol::Http2).await, before);
    assert_eq!(
        metric(
            &host,
            r#"sallyport_certificate_reload_total{result="failure"}"#
        )
        .await,
        1
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hangup_reads_the_certificate_again() {
    let authority = Authority::new();
    let mount = mounted(&authority.server());
    let file = |name: &str| mount.path().join(name).to_str().expect("UTF-8").to_owned();
    let (certificate, key) = (file("tls.crt"), file("tls.key"));
    let files = ["--tls-cert", &certificate, "--tls-key", &key, "--no-watch"];
    let host = Program::with_certificate(policies().path(), &authority.pem(), &files);
    let before = shown(&host.client, Protocol::Http1).await;
    let (certificate, key) = authority.server();
    put(mount.path(), "tls.crt", &certificate);
    put(mount.path(), "tls.key", &key);
    host.signal("HUP");
    host.status_of_certificate(|status| !status["lastReload"].is_null())
        .await;
    assert_ne!(shown(&host.client, Protocol::Http1).await, before);
}

/// Starts a host that requires a client certificate with one of these names, signed by `clients`.
async fn guarded(clients: &Authority, names: &[&str]) -> Host {
    let host = Host::start(&misbehaving(&json!({}))).await;
    let names = names
        .iter()
        .map(|name| (*name).to_owned())
        .collect::<BTreeSet<_>>();
    host.live
        .tls()
        .set_clients(Clients::from_pem(clients.pem().as_bytes(), names).expect("an authority"));
    host
}

/// Returns the alert that a client gets.
async fn alert(client: &Client, version: &'static SupportedProtocolVersion) -> AlertDescription {
    let failed = async || -> io::Result<()> {
        client
            .try_handshake(Protocol::Http1, &[version])
            .await?
            .read_exact(&mut [0])
            .await?;
        Ok(())
    };
    let error = failed().await.expect_err("it is refused");
    match error.get_ref().and_then(|error| error.downcast_ref()) {
        Some(rustls::Error::AlertReceived(alert)) => *alert,
        _ => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_client_with_a_good_certificate_is_let_in() {
    let authority = Authority::new();
    let host = guarded(&authority, &["kube-apiserver"]).await;
    let (certificate, key) = authority.client("kube-apiserver");
    let client = host.client.showing(certificate, key);
    for protocol in PROTOCOLS {
        assert_eq!(
            client
                .post(protocol, "/validate", command("nothing"))
                .await
                .status,
            StatusCode::OK
        );
    }
}

#[tokio::test]
async fn other_clients_are_refused_with_the_alert_that_says_why() {
    let authority = Authority::new();
    let host = guarded(&authority, &["kube-apiserver"]).await;
    let (certificate, key) = Authority::new().client("kube-apiserver");
    let foreign = host.client.showing(certificate, key);
    let (certificate, key) = authority.client("somebody");
    let misnamed = host.client.showing(certificate, key);
    let (certificate, key) = authority.issue("kube-apiserver", ExtendedKeyUsagePurpose::ServerAuth);
    let server = host.client.showing(certificate, key);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        assert_eq!(
            alert(&host.client, version).await,
            AlertDescription::CertificateRequired
        );
        assert_eq!(
            alert(&misnamed, version).await,
            AlertDescription::AccessDenied
        );
        assert_eq!(
            alert(&foreign, version).await,
            AlertDescription::DecryptError
        );
        assert_eq!(
            alert(&server, version).await,
            AlertDescription::UnsupportedCertificate
        );
    }
    // A refusal is counted only after the client has left.
    let began = Instant::now();
    while host.metric(r#"sallyport_tls_client_refusals_total{reason="invalid"}"#) != 6 {
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "{}",
            host.live.metrics_text()
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(
        host.metric(r#"sallyport_tls_client_refusals_total{reason="missing"}"#),
        2
    );
}

#[tokio::test]
async fn a_client_of_an_authority_that_was_replaced_is_refused() {
    let (old, new) = (Authority::new(), Authority::new());
    let host = guarded(&old, &[]).await;
    let (certificate, key) = old.client("anybody");
    let client = host.client.showing(certificate, key);
    assert_eq!(
        client
            .post(Protocol::Http2, "/validate", command("nothing"))
            .await
            .status,
        StatusCode::OK
    );
    host.live.tls().set_clients(
        Clients::from_pem(new.pem().as_bytes(), BTreeSet::new()).expect("an authority"),
    );
    alert(&client, &rustls::version::TLS13).await;
}

#[tokio::test]
async fn an_identity_is_published_to_the_next_handshake() {
    let host = Host::start(&misbehaving(&json!({}))).await;
    let authority = Authority::new();
    let (certificate, key) = authority.server();
    let identity = Identity::from_pem(certificate.as_bytes(), key.as_bytes()).expect("they fit");
    let mut open = host.client.connect(Protocol::Http2).await;
    host.live.tls().set_identity(identity);
    let client = Client::new(host.address, &authority.pem());
    assert_eq!(
        client
            .post(Protocol::Http2, "/validate", command("nothing"))
            .await
            .status,
        StatusCode::OK
    );
    // Existing connections stay open.
    assert_eq!(
        open.post("/validate", command("nothing")).await.status,
        StatusCode::OK
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_need_no_client_certificate() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let mount = mounted(&authority.server());
    put(mount.path(), "clients.crt", &clients.pem());
    let file = mount.path().join("clients.crt");
    let flags = [
        "--client-ca",
        file.to_str().expect("UTF-8"),
        "--client-name",
        "kube-apiserver",
    ];
    let host = serve(&policies(), &authority.pem(), mount.path(), &flags);
    assert!(
        probe(host.admin, "/readyz")
            .await
            .starts_with("HTTP/1.1 200")
    );
    alert(&host.client, &rustls::version::TLS13).await;
    let (certificate, key) = clients.client("kube-apiserver");
    let client = host.client.showing(certificate, key);
    assert_eq!(
        client
            .post(Protocol::Http1, "/validate", command("nothing"))
            .await
            .status,
        StatusCode::OK
    );
}
