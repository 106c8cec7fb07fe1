//! The flags for the host's certificate and for the clients that it accepts, and the thread that
//! watches their files.
//!
//! The files are watched as those of policies are: they are read once they have changed and then
//! stay unchanged, checked, and published to handshakes as a whole or not at all.

use super::kube::KubeArgs;
use super::self_managed::SelfManagedArgs;
use crate::live::Live;
use crate::sources::watch::{self, Ask, Fingerprint, Watch};
use crate::tls::{self, Clients, Identity, SelfSigned, Tls};
use crate::write_gate::WriteGate;
use anyhow::{Context as _, Result, bail};
use clap::{ArgGroup, Args};
use jiff::Timestamp;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Interval at which problems of the certificate are logged again.
const REMIND: Duration = Duration::from_secs(3600);

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Certificate")]
#[group(skip)]
#[command(group(ArgGroup::new("called").multiple(true).args(["self_managed_certificate",
    "register"])))]
#[command(group(ArgGroup::new("certificate").required(true).args(["tls_cert", "self_signed",
    "self_managed_certificate"])))]
pub(super) struct CertificateArgs {
    /// PEM file with the server's certificate, and after it the chain. It, --tls-key and
    /// --client-ca are looked at every --watch-interval and on SIGHUP: new ones serve without a
    /// restart
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// PEM file with its private key
    #[arg(long, value_name = "FILE", requires = "tls_cert",
        conflicts_with_all = ["self_signed", "self_managed_certificate"])]
    tls_key: Option<PathBuf>,
    /// Make an authority and a certificate for localhost, for as long as the process lives. Each
    /// process needs a --ca-out of its own
    #[arg(long)]
    self_signed: bool,
    /// Make an authority and a certificate for the Service, keep them in a Secret that all replicas
    /// share, renew them in time, and write the caBundle of the webhook configurations
    #[arg(long)]
    self_managed_certificate: bool,
    /// Where the authority's certificate is written
    #[arg(
        long,
        value_name = "FILE",
        default_value = ".dev/ca.crt",
        requires = "self_signed"
    )]
    ca_out: PathBuf,
    /// PEM file with the authorities of client certificates: clients without a certificate by one
    /// of them are refused in the TLS handshake. Probes and metrics need none [default: everybody
    /// may ask]
    #[arg(long, value_name = "FILE")]
    client_ca: Option<PathBuf>,
    /// Let in only clients with this common name or alternative name; may be given several times
    #[arg(long = "client-name", value_name = "NAME", requires = "client_ca")]
    client_names: Vec<String>,
    #[command(flatten)]
    self_managed: SelfManagedArgs,
}

impl CertificateArgs {
    /// Returns true if only clients that show a certificate are let in.
    pub(super) fn knows_clients(&self) -> bool {
        self.client_ca.is_some()
    }

    /// Publishes what handshakes use from the start on; of a host that registers itself, or not.
    ///
    /// # Errors
    ///
    /// The file that can't be read or used.
    pub(super) fn start(
        &self,
        kube: &KubeArgs,
        live: &Arc<Live>,
        writes: &WriteGate,
        interval: Option<Duration>,
        registers: bool,
    ) -> Result<Ask> {
        let mut files = Files {
            args: self.clone(),
            live: Arc::clone(live),
            ca: None,
        };
        let (seen, read) = watch::settled(|| files.look(), || files.read());
        let Some(read) = read else {
            bail!("the certificate's files changed each time while they were read")
        };
        let found = read?;
        if self.self_signed {
            files.ca = Some(self.make(live.tls())?);
        }
        found.publish(live.tls());
        if self.self_managed_certificate {
            self.self_managed.start(kube, live, writes, registers)?;
        }
        files
            .follow(seen, interval)
            .context("can't start the thread that follows the certificate's files")
    }

    pub(super) fn is_self_managed(&self) -> bool {
        self.self_managed_certificate
    }

    pub(super) fn is_self_signed(&self) -> bool {
        self.self_signed
    }

    /// Returns the Service's namespace and name, and the name of the webhook configurations.
    pub(super) fn places(&self, config: &kube::Config) -> (String, String, String) {
        self.self_managed.places(config)
    }

    /// Presents a certificate made on the spot. Returns the file with its authority, which stays
    /// locked while it is open.
    fn make(&self, tls: &Tls) -> Result<File> {
        let SelfSigned { identity, ca } = tls::self_signed()?;
        let file = write_locked(&self.ca_out, &ca)?;
        tracing::info!(
            "the certificate's authority is in {}",
            self.ca_out.display()
        );
        tls.set_identity(identity);
        Ok(file)
    }

    fn identity(&self) -> Result<Option<Identity>> {
        let (Some(cert), Some(key)) = (&self.tls_cert, &self.tls_key) else {
            return Ok(None);
        };
        let (chain, secret) = (read(cert)?, read(key)?);
        let from = || format!("certificate {} with key {}", cert.display(), key.display());
        Identity::from_pem(&chain, &secret)
            .map(Some)
            .with_context(from)
    }

    fn clients(&self) -> Result<Option<Clients>> {
        let Some(file) = &self.client_ca else {
            return Ok(None);
        };
        let names = self.client_names.iter().cloned().collect();
        Clients::from_pem(&read(file)?, names)
            .map(Some)
            .with_context(|| format!("--client-ca {}", file.display()))
    }
}

/// The files, and where what is in them goes.
struct Files {
    args: CertificateArgs,
    live: Arc<Live>,
    /// The self-signed certificate's authority: locked for as long as this process serves with it.
    ca: Option<File>,
}

/// The content of the files, checked.
struct Material {
    identity: Option<Identity>,
    clients: Option<Clients>,
}

impl Material {
    fn publish(self, tls: &Tls) {
        if let Some(clients) = self.clients {
            tls.set_clients(clients);
        }
        if let Some(identity) = self.identity {
            tls.set_identity(identity);
        }
    }
}

impl Files {
    fn look(&self) -> Fingerprint {
        let CertificateArgs {
            tls_cert,
            tls_key,
            client_ca,
            ..
        } = &self.args;
        Fingerprint::of(
            [tls_cert, tls_key, client_ca]
                .into_iter()
                .flatten()
                .cloned(),
        )
    }

    fn read(&self) -> Result<Material> {
        Ok(Material {
            identity: self.args.identity()?,
            clients: self.args.clients()?,
        })
    }

    fn follow(self, seen: Fingerprint, interval: Option<Duration>) -> std::io::Result<Ask> {
        let (ask, watch) = Watch::new(interval);
        std::thread::Builder::new()
            .name("certificate".into())
            .spawn(move || self.run(&watch, seen))?;
        Ok(ask)
    }

    fn run(self, watch: &Watch, mut seen: Fingerprint) {
        while watch.next(&seen, || self.look()) {
            let (now, read) = watch::settled(|| self.look(), || self.read());
            seen = now;
            match read.unwrap_or_else(|| bail!("the files changed each time while they were read"))
            {
                Ok(found) => {
                    let until = found
                        .identity
                        .as_ref()
                        .map(|identity| identity.certificate().not_after.to_string());
                    found.publish(self.live.tls());
                    self.live.tls().reloaded();
                    tracing::info!(until, "the certificate's files were read again");
                }
                Err(error) => {
                    let error = format!("{error:#}");
                    tracing::error!("the certificate from before serves on: {error}");
                    self.live.tls().reload_failed(error);
                }
            }
        }
    }
}

/// Says what is wrong with the certificate, now and every hour.
pub(super) async fn remind(live: Arc<Live>) {
    let mut hours = tokio::time::interval(REMIND);
    loop {
        hours.tick().await;
        let identity = live.tls().identity();
        if let Some(trouble) =
            identity.and_then(|identity| identity.certificate().problem(Timestamp::now()))
        {
            tracing::warn!("certificate {trouble}");
        }
    }
}

fn read(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("can't read {}", file.display()))
}

/// Writes a file that no other process may write while this one has it open. Otherwise a second
/// `serve --self-signed` would replace the authority that the clients of the first one trust.
fn write_locked(path: &Path, text: &str) -> Result<File> {
    let open = || {
        path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
    };
    let mut file = open().with_context(|| format!("can't write {}", path.display()))?;
    if let Err(TryLockError::WouldBlock) = file.try_lock() {
        bail!(
            "another process serves with the authority in {}, and its clients trust that file; \
             give this one a file of its \
             own, such as --ca-out {}",
            path.display(),
            path.with_extension("2.crt").display()
        );
    }
    file.set_len(0)
        .and_then(|()| file.write_all(text.as_bytes()))
        .with_context(|| format!("can't write {}", path.display()))?;
    Ok(file)
}
