//! `sallyport serve`: the webhook.

use super::cache::CacheArgs;
use super::load;
use super::logging::Logging;
use crate::admission::Admission;
use crate::engine::{Engine, EngineConfig};
use crate::inventory::Inventory;
use crate::policy::Policy;
use crate::server::tls::{self, SelfSigned};
use crate::server::{Admin, Limits, Metrics, Server};
use anyhow::{Context as _, Result, bail};
use clap::{ArgGroup, Args};
use rustls::ServerConfig;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Serves the admission webhook
///
/// Answers AdmissionReviews on /validate and /mutate over TLS (HTTP/2 and HTTP/1.1), and /livez, /readyz and /metrics on the
/// admin address over plain HTTP.
#[derive(Debug, Args)]
#[command(
    after_long_help = EXAMPLES,
    group(ArgGroup::new("certificate").required(true).args(["tls_cert", "self_signed"]))
)]
pub(super) struct Serve {
    /// Directory of ServicePolicy manifests and the modules that they name
    #[arg(long, value_name = "DIR")]
    policies: PathBuf,
    /// HostConfig manifest: what policies may know about the cluster, and what is exempt [default: nothing is known, but
    /// that it is not a cloud]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Refuse to start when a policy can't be loaded. Without it, such a policy fails each review as its failurePolicy says
    #[arg(long)]
    strict: bool,
    /// Address of the webhook
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
    /// Address of probes and metrics
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8081")]
    admin_listen: SocketAddr,
    #[command(flatten)]
    certificate: Certificate,
    /// Largest request body, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().body)]
    body_limit: usize,
    /// How long new connections are still taken after SIGTERM, not ready any more, until the cluster has noticed; in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    drain_delay: u64,
    /// How long requests may still take after that, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    drain_timeout: u64,
    #[command(flatten)]
    cache: CacheArgs,
    #[command(flatten)]
    logging: Logging,
}

const EXAMPLES: &str = "\
Examples:
  Locally, with a certificate made on the spot:
    sallyport serve --policies target/policies --self-signed
    curl --cacert .dev/ca.crt -H 'Content-Type: application/json' --data @review.json https://localhost:8443/validate

  In a cluster, with cert-manager's Secret mounted:
    sallyport serve --policies /policies --config /config/host.yaml --listen 0.0.0.0:8443 \\
      --admin-listen 0.0.0.0:8081 --tls-cert /tls/tls.crt --tls-key /tls/tls.key --log-format json";

#[derive(Debug, Args)]
#[command(next_help_heading = "Certificate")]
#[group(skip)]
struct Certificate {
    /// PEM file with the server's certificate, and after it the chain
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// PEM file with its private key
    #[arg(long, value_name = "FILE", requires = "tls_cert", conflicts_with = "self_signed")]
    tls_key: Option<PathBuf>,
    /// Make an authority and a certificate for localhost, for as long as the process lives
    #[arg(long)]
    self_signed: bool,
    /// Where the authority's certificate is written
    #[arg(long, value_name = "FILE", default_value = ".dev/ca.crt", requires = "self_signed")]
    ca_out: PathBuf,
}

impl Certificate {
    fn load(&self) -> Result<Arc<ServerConfig>> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(cert), Some(key)) => {
                let read = |file: &Path| std::fs::read(file).with_context(|| format!("can't read {}", file.display()));
                let (chain, secret) = (read(cert)?, read(key)?);
                let from = || format!("certificate {} with key {}", cert.display(), key.display());
                tls::from_pem(&chain, &secret).with_context(from)
            }
            _ => {
                let SelfSigned { config, ca } = tls::self_signed()?;
                write(&self.ca_out, &ca)?;
                tracing::info!("the certificate's authority is in {}", self.ca_out.display());
                Ok(config)
            }
        }
    }
}

fn write(file: &Path, text: &str) -> Result<()> {
    let written = file.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(file, text));
    written.with_context(|| format!("can't write {}", file.display()))
}

impl Serve {
    pub(super) fn run(self) -> Result<ExitCode> {
        self.logging.start();
        let workers = std::thread::available_parallelism().map_or(2, usize::from);
        let concurrency = u32::try_from(workers).unwrap_or(u32::MAX);
        let cache = self.cache.open()?;
        let engine = Arc::new(Engine::new(&EngineConfig { concurrency, cache, ..EngineConfig::default() })?);
        let config = load::host_config(self.config.as_deref())?;
        let policies = load::policies(&engine, &self.policies)?;
        report(&policies, self.strict)?;
        tracing::info!(compilations = engine.compilations(), "all policies are read");
        let admission = Arc::new(Admission::new(policies, Inventory::from(config.inventory), config.exemptions));
        let metrics = Arc::new(Metrics::new(&admission));
        let admin = Admin::new(Arc::clone(&admission), Arc::clone(&metrics));
        admin.serve(listen(self.admin_listen, "--admin-listen")?).context("can't start the admin server")?;
        let listener = listen(self.listen, "--listen")?;
        // Last of all: a start that fails must not replace the authority that a running host's clients trust.
        let tls = self.certificate.load()?;
        let limits = Limits { body: self.body_limit, ..Limits::default() };
        let server = Server::new(admission, tls, metrics, limits);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build()?;
        tracing::info!("probes and metrics on http://{}", self.admin_listen);
        let drain =
            Drain { delay: Duration::from_secs(self.drain_delay), most: Duration::from_secs(self.drain_timeout) };
        runtime.block_on(serve(server, listener, admin, drain))?;
        // Connections that outlived the drain are not waited for.
        runtime.shutdown_background();
        Ok(ExitCode::SUCCESS)
    }
}

/// Says which policies there are; with `strict`, broken ones end the start.
fn report(policies: &[Policy], strict: bool) -> Result<()> {
    let mut broken = vec![];
    for policy in policies {
        let (name, mode) = (policy.name(), policy.manifest().spec.mode);
        match policy.load_error() {
            Some(error) => {
                if !strict {
                    tracing::error!(policy = &**name, "broken: {error}");
                }
                broken.push(format!("{name}: {error}"));
            }
            None => {
                let version = policy.description().map_or("", |description| &description.version);
                tracing::info!(policy = &**name, version, ?mode, "loaded");
                if let Some(why) = policy.configured_per_instance() {
                    tracing::warn!(policy = &**name, "is configured anew for every review, which is slow: {why}");
                }
            }
        }
    }
    if strict && !broken.is_empty() {
        bail!(
            "{} of {} policies can't be loaded, and --strict is set:\n  {}",
            broken.len(),
            policies.len(),
            broken.join("\n  ")
        );
    }
    Ok(())
}

fn listen(address: SocketAddr, flag: &str) -> Result<TcpListener> {
    let listener = TcpListener::bind(address)
        .with_context(|| format!("can't listen on {address}; free the port or choose another with {flag}"))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// How a host stops.
struct Drain {
    delay: Duration,
    most: Duration,
}

/// What the shell is told when a second signal ends the drain.
const IMPATIENT: i32 = 130;

async fn serve(server: Server, listener: TcpListener, admin: Admin, drain: Drain) -> Result<()> {
    let mut signals = Signals::new()?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    tracing::info!("serving on https://{}", listener.local_addr()?);
    admin.set_ready(true);
    let stop = async {
        signals.next().await;
        admin.set_ready(false);
        tracing::info!("stopping: no new connections, answering what has begun; a second signal ends it at once");
        tokio::spawn(async move {
            signals.next().await;
            std::process::exit(IMPATIENT);
        });
        tokio::time::sleep(drain.delay).await;
    };
    server.run(listener, stop, drain.most).await;
    Ok(())
}

/// SIGTERM, which a kubelet sends, and SIGINT, which a terminal does.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
