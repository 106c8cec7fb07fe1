//! `sallyport serve`: the webhook.

use super::audit_reports::{AuditReportsArgs, Auditing};
use super::bounds::Bounds;
use super::cache::CacheArgs;
use super::certificate::{self, CertificateArgs};
use super::cluster::ClusterArgs;
use super::console::ConsoleArgs;
use super::decisions::DecisionArgs;
use super::events::EventArgs;
use super::inputs::PolicyArgs;
use super::kube::KubeArgs;
use super::logging::Logging;
use super::otlp::OtlpArgs;
use super::quantity::{drain_time, short_time};
use super::record::RecordArgs;
use super::register::{RegisterArgs, Registering};
use super::registry::RegistryArgs;
use super::signals::{End, Signals, Start};
use crate::engine::{Engine, EngineConfig};
use crate::live::Live;
use crate::server::{self, Admin, Drain, Extras, Server};
use crate::sources::custom::Check;
use crate::sources::load;
use crate::sources::reload::{Reloader, retry_pause};
use crate::sources::source::{Set, Source};
use crate::sources::watch::{Ask, Fingerprint};
use crate::write_gate::WriteGate;
use anyhow::{Context as _, Result, bail};
use clap::{ArgGroup, Args};
use sallyport_core::policy::Policy;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Serve the admission webhook
///
/// Answers AdmissionReviews on /validate and /mutate, and of ServicePolicies on /validate-policies,
/// over TLS (HTTP/2 and HTTP/1.1), and /livez, /readyz, /metrics and /policies on the admin address
/// over plain HTTP. With --console, a page shows what runs.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
#[command(mut_arg("policies", |policies| policies.value_name("DIR").help("Directory of \
    ServicePolicy manifests and the modules that they name. Suites beside them (suite.yaml, \
    *.suite.yaml) are run as self-tests before policies serve")))]
#[command(mut_arg("config", |config| config.help("HostConfig manifest: what policies may know \
    about the cluster, and what is exempt [default: only that it is not a cloud]")))]
#[command(mut_arg("registry_credentials", |file| file.help("Credentials for registries: a mounted \
    image pull secret (.dockerconfigjson). Credential helpers that it names are not run [default: \
    none]")))]
#[command(group(ArgGroup::new("source").required(true).multiple(true).args(["policies",
    "policies_from_cluster"])))]
pub(super) struct Serve {
    #[command(flatten)]
    policies: PolicyArgs,
    /// Refuse to start when a policy or its candidate can't be loaded or a self-test fails. Without
    /// it, such a policy fails each review as its failurePolicy says
    #[arg(long)]
    strict: bool,
    /// Interval at which --policies, --config and the cluster's ServicePolicies are polled. Changed
    /// files are loaded once two polls in a row agree. The new set replaces the old one as a whole;
    /// if one file is broken, the old set keeps serving. SIGHUP reloads at once
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = short_time)]
    watch_interval: Duration,
    /// Don't poll; reload only on SIGHUP
    #[arg(long, conflicts_with = "watch_interval")]
    no_watch: bool,
    /// Address of the webhook; [::]:8443 is every address, of IPv4 as well
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
    /// Address of probes, metrics and the list of live policies
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8081")]
    admin_listen: SocketAddr,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    kube: KubeArgs,
    #[command(flatten)]
    events: EventArgs,
    #[command(flatten)]
    certificate: CertificateArgs,
    #[command(flatten)]
    register: RegisterArgs,
    #[command(flatten)]
    bounds: Bounds,
    /// Time that the host serves on after SIGTERM, while /readyz fails, so that the cluster stops
    /// sending requests. Clients that keep their connections are asked to reconnect meanwhile.
    /// SIGINT (Ctrl-C) does not wait
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = drain_time,
        help_heading = "Drain")]
    drain_delay: Duration,
    /// Time that requests may still take after that
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = drain_time,
        help_heading = "Drain")]
    drain_timeout: Duration,
    #[command(flatten)]
    record: RecordArgs,
    #[command(flatten)]
    decisions: DecisionArgs,
    #[command(flatten)]
    otlp: OtlpArgs,
    #[command(flatten)]
    audit: AuditReportsArgs,
    #[command(flatten)]
    console: ConsoleArgs,
    #[command(flatten)]
    registry: RegistryArgs,
    #[command(flatten)]
    cache: CacheArgs,
    #[command(flatten)]
    logging: Logging,
}

const EXAMPLES: &str = "\
Examples:
  Locally, with a certificate made on the spot:
    sallyport serve --policies target/policies --self-signed
    curl --cacert .dev/ca.crt -H 'Content-Type: application/json' \\
      --data @review.json https://localhost:8443/validate

  The same with the policies of a preset:
    sallyport serve --policies policies/presets/baseline --modules target/policies --self-signed

  With the live console, on http://localhost:8082:
    sallyport serve --policies target/policies --self-signed --console

  In a cluster, with cert-manager's Secret mounted:
    sallyport serve --policies /policies --config /config/host.yaml --listen '[::]:8443' \\
      --admin-listen '[::]:8081' --cluster --tls-cert /tls/tls.crt \\
      --tls-key /tls/tls.key --log-format json

  In a cluster, with a certificate that the replicas make and renew themselves:
    sallyport serve --policies /policies --config /config/host.yaml --listen '[::]:8443' \\
      --admin-listen '[::]:8081' --cluster --self-managed-certificate --log-format json";

impl Serve {
    pub(super) fn run(self) -> Result<ExitCode> {
        self.logging.start();
        let otlp = self.otlp.prepare()?;
        let modules = self.modules()?;
        let workers = std::thread::available_parallelism().map_or(2, usize::from);
        // One more than guests may occupy: it accepts, refuses and answers while they run.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(workers + 1)
            .enable_all()
            .build()?;
        // First of all: as process 1 of a container it would not even end by default.
        let start = Start::watch(&runtime)?;
        let writes = WriteGate::open();
        let source = self.source(modules, workers, &writes)?;
        let (mut seen, live, unreached) = self.read(&source)?;
        let admin = self.answer_probes(&live)?;
        if !unreached.is_empty() {
            seen = await_registries(&source, &live, unreached)?;
        }
        self.self_test(&source, &live)?;
        if let Some(watchers) = &source.watchers {
            self.cluster.wait(watchers, self.strict)?;
            self.cluster.count(watchers, &live);
        }
        source.engine.begin_serving();
        let listener = listen(self.listen, "--listen")?;
        // Last of all: a start that fails must not replace the authority that a running host's
        // clients trust.
        let recorder = self.record.start(&live)?;
        let decision_log = self.decisions.start(&live)?;
        let telemetry = otlp.map(|otlp| otlp.start(&live)).transpose()?;
        let check = Check {
            engine: Arc::clone(&source.engine),
            modules: source.modules.clone(),
            manifests: source.manifests.clone(),
            config: source.config.clone(),
            registry: Arc::clone(&source.registry),
            live: Arc::clone(&live),
        };
        let interval = (!self.no_watch).then_some(self.watch_interval);
        let registering = self.register.prepare(
            &self.kube,
            &self.certificate,
            self.cluster.serves_policies(),
            &live,
            &writes,
        )?;
        let map = self.console.exposures(&self.audit);
        let auditing = self
            .audit
            .prepare(&self.kube, &live, &writes, map.clone())?;
        let is_self_signed = self.certificate.is_self_signed();
        let recent = self.console.start(&self.kube, is_self_signed, &live, map)?;
        let certificate =
            self.certificate
                .start(&self.kube, &live, &writes, interval, registering.is_some())?;
        let denials = self
            .events
            .start(&self.kube, &live, source.watchers.as_ref(), &writes)?;
        let limits = self
            .bounds
            .limits(workers, self.certificate.knows_clients());
        let extras = Extras {
            check: Some(Arc::new(move |manifest| check.check(manifest))),
            recorder: recorder.clone(),
            decision_log: decision_log.clone(),
            telemetry: telemetry.clone(),
            denials,
            recent,
        };
        let server = Server::with(Arc::clone(&live), limits, extras);
        let reload = Reloader::new(source, Arc::clone(&live), seen)
            .start(interval)
            .context("can't start the reload thread")?;
        let drain = Drain {
            delay: self.drain_delay,
            timeout: self.drain_timeout,
        };
        runtime.spawn(certificate::remind(live));
        let signals = runtime.block_on(start.end())?;
        let writers = Writers {
            writes,
            registering,
            auditing,
        };
        runtime.block_on(serve(
            server,
            listener,
            admin,
            [reload, certificate],
            drain,
            signals,
            writers,
        ))?;
        // Connections that outlived the drain are not waited for.
        runtime.shutdown_background();
        for writer in [recorder, decision_log].into_iter().flatten() {
            writer.finish(RECORDING);
        }
        if let Some(telemetry) = telemetry {
            telemetry.finish(RECORDING);
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Returns the directory of the modules.
    fn modules(&self) -> Result<PathBuf> {
        let modules = self.policies.modules();
        let modules = modules
            .context("--policies-from-cluster: name the directory of the modules with --modules")?;
        if let Some(file) = self.policies.directory().filter(|path| path.is_file()) {
            bail!(
                "--policies {}: a host serves a directory, so that it sees what is added; name the \
                 directory of this file",
                file.display()
            );
        }
        Ok(modules.to_owned())
    }

    /// Starts the engine and the watchers of the cluster.
    fn source(&self, modules: PathBuf, workers: usize, writes: &WriteGate) -> Result<Source> {
        // One more for candidates, and one for the background audit, which run beside the workers
        // and must not take a worker's slot in the pool.
        let concurrency = u32::try_from(workers + 1 + self.audit.threads()).unwrap_or(u32::MAX);
        let cache = self.cache.open()?;
        let engine = Arc::new(Engine::new(&EngineConfig {
            concurrency,
            cache,
            ..EngineConfig::default()
        })?);
        let watchers = self.cluster.start(&self.kube, writes)?;
        let config = self.policies.config().map(Path::to_owned);
        if config.is_none() && watchers.is_none() {
            tracing::warn!("{}", load::DEFAULT_CONFIG_IN_WORDS);
        }
        Ok(Source {
            engine,
            manifests: self.policies.directory().map(Path::to_owned),
            modules,
            config,
            registry: self.registry.of_host(&self.cache),
            watchers,
        })
    }

    /// Reads the policies for the first time. Also returns what was read, by which a change is
    /// noticed, and the policies whose registry did not answer.
    fn read(&self, source: &Source) -> Result<(Fingerprint, Arc<Live>, Vec<String>)> {
        let (seen, set) = source.settled(|| source.read(None));
        let Set {
            admission,
            custom,
            unreached,
            ..
        } = set?;
        let policies: Vec<_> = admission
            .policies()
            .iter()
            .chain(admission.candidates())
            .cloned()
            .collect();
        report(&policies, self.strict)?;
        tracing::info!(
            compilations = source.engine.compilations(),
            "all policies are read"
        );
        if let Some(watchers) = &source.watchers {
            watchers.want(admission.asks());
        }
        source.report(&custom);
        let watched = source
            .watchers
            .as_ref()
            .map(|watchers| Arc::clone(watchers.watched()));
        let live = Live::new(Arc::new(admission), watched);
        live.watch_engine(Arc::clone(&source.engine));
        live.watch_registry(Arc::clone(&source.registry));
        Ok((seen, live, unreached))
    }

    /// Starts the server of probes and metrics.
    fn answer_probes(&self, live: &Arc<Live>) -> Result<Admin> {
        let admin = Admin::new(Arc::clone(live));
        let listener = listen(self.admin_listen, "--admin-listen")?;
        tracing::info!("probes and metrics on http://{}", listener.local_addr()?);
        admin
            .serve(listener)
            .context("can't start the admin server")?;
        Ok(admin)
    }

    /// Runs the suites beside the policies. With `--strict`, a failure ends the start.
    fn self_test(&self, source: &Source, live: &Live) -> Result<()> {
        match source.self_test() {
            Err(error) if self.strict => return Err(error),
            Err(error) => {
                tracing::error!("the policies serve all the same, without --strict: {error:#}");
                live.note_load_error(format!("{error:#}"));
            }
            Ok(()) => {}
        }
        Ok(())
    }
}

/// Reads the policies again until no registry keeps back a component any more, so that a replica
/// without its policies does not take over from those that have theirs. Not ready meanwhile.
///
/// A policy with any other error is broken, as after any start.
fn await_registries(
    source: &Source,
    live: &Live,
    mut unreached: Vec<String>,
) -> Result<Fingerprint> {
    let mut attempt = 0;
    loop {
        let pause = retry_pause(attempt);
        attempt += 1;
        let missing = unreached.join("; ");
        tracing::error!("not ready, and asking again in {pause:?}: {missing}");
        live.note_load_error(format!("waiting for a registry: {missing}"));
        std::thread::sleep(pause);
        let before = live.admission();
        let (seen, set) = source.settled(|| source.read(Some(&before)));
        let set = set?;
        let asks = set.admission.asks();
        live.publish(Arc::new(set.admission));
        if let Some(watchers) = &source.watchers {
            watchers.want(asks);
        }
        source.report(&set.custom);
        if set.unreached.is_empty() {
            for problem in &set.broken_files {
                tracing::error!("broken: {problem}");
            }
            tracing::info!("all registries have answered");
            return Ok(seen);
        }
        unreached = set.unreached;
    }
}

/// Time for recording the last reviews, after the drain.
const RECORDING: Duration = Duration::from_secs(2);

/// Says which policies there are; with `strict`, broken ones end the start.
fn report(policies: &[Arc<Policy>], strict: bool) -> Result<()> {
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
                let version = policy
                    .description()
                    .map_or("", |description| &description.version);
                tracing::info!(policy = &**name, version, ?mode, "loaded");
                if let Some(why) = policy.configured_per_instance() {
                    tracing::warn!(
                        policy = &**name,
                        "is configured anew for every review, which is slow: {why}"
                    );
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
    server::listen(address).with_context(|| {
        format!("can't listen on {address}; free the port or choose another with {flag}")
    })
}

/// The exit code when a second signal ends the drain.
const IMPATIENT: i32 = 130;

/// The writers of cluster objects, which stop at the signal.
struct Writers {
    writes: WriteGate,
    registering: Option<Registering>,
    auditing: Option<Auditing>,
}

async fn serve(
    server: Server,
    listener: TcpListener,
    admin: Admin,
    reload: [Ask; 2],
    drain: Drain,
    signals: Signals,
    writers: Writers,
) -> Result<()> {
    let Signals {
        mut hangup,
        mut end,
    } = signals;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            reload.iter().for_each(Ask::now);
        }
    });
    let listener = tokio::net::TcpListener::from_std(listener)?;
    tracing::info!("serving on https://{}", listener.local_addr()?);
    admin.set_ready(true);
    writers.registering.map_or(Ok(()), Registering::begin)?;
    writers.auditing.map_or(Ok(()), Auditing::begin)?;
    let stop = async {
        let signal = end.next().await;
        // First of all: whatever is written from now on would outlive this host.
        writers.writes.close();
        // After Ctrl-C there is no delay: no cluster has to remove an endpoint.
        let delay = if signal == End::Interrupt {
            Duration::ZERO
        } else {
            drain.delay
        };
        admin.set_ready(false);
        tracing::info!(
            "stopping: serving on for {delay:?}, then answering what has begun; a second signal \
             ends it at once"
        );
        tokio::spawn(async move {
            end.next().await;
            std::process::exit(IMPATIENT);
        });
        Drain { delay, ..drain }
    };
    server.run(listener, stop).await;
    Ok(())
}
