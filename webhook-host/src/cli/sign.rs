//! `sallyport sign`: signs an artefact in a registry.

use super::output::print;
use super::registry::RemoteArgs;
use crate::registry::SignatureFormat;
use crate::signature::{SigningKey, fingerprint};
use crate::sources::load;
use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use sallyport_core::manifest::Reference;
use std::path::PathBuf;
use std::process::ExitCode;

/// Sign an artefact in a registry with a private key, as cosign does
///
/// The signature names the digest and the repository, and is attached to the artefact in its
/// registry. It says nothing about the tag: what was signed once stays signed.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct SignArgs {
    /// The artefact, by its digest: registry/repository@sha256:...
    #[arg(value_name = "REFERENCE")]
    reference: Reference,
    /// Private key: PKCS #8 in PEM, not encrypted; - reads it from standard input
    #[arg(long, value_name = "FILE", env = "SALLYPORT_KEY")]
    key: PathBuf,
    /// Form of the signature
    #[arg(long, value_enum, default_value_t = Format::Simple)]
    format: Format,
    #[command(flatten)]
    remote: RemoteArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// Simple signing, under the tag sha256-HEX.sig; read by every version of cosign
    Simple,
    /// Sigstore bundle 0.3, as a referrer; made by cosign since version 3
    Bundle,
}

const EXAMPLES: &str = "\
Examples:
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out policy.key
  openssl pkey -in policy.key -pubout -out policy.pub
  sallyport sign ghcr.io/acme/nodeport-range@sha256:... --key policy.key
  sallyport verify ghcr.io/acme/nodeport-range:1.2.0 --key policy.pub
  cosign verify --key policy.pub --insecure-ignore-tlog=true ghcr.io/acme/nodeport-range:1.2.0";

/// Runs the subcommand.
///
/// # Errors
///
/// When the key can't be used, or the registry does not have the artefact or take the signature.
pub(super) fn run(args: &SignArgs) -> Result<ExitCode> {
    let Reference {
        repository,
        digest: Some(digest),
        ..
    } = &args.reference
    else {
        bail!(
            "{}: sign what you have seen: name the digest (sallyport push and pull print it)",
            args.reference
        );
    };
    let text = if args.key.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin()).context("can't read standard input")?
    } else {
        load::read_text(&args.key)?
    };
    let key = SigningKey::from_pem(&text).with_context(|| args.key.display().to_string())?;
    let format = match args.format {
        Format::Simple => SignatureFormat::Simple,
        Format::Bundle => SignatureFormat::Bundle,
    };
    let session = args.remote.session(&args.remote.config()?)?;
    session.sign(repository, digest, &key, format)?;
    let key = fingerprint(&key.public());
    print(&format!(
        "signed {repository}@{digest} with the key {key}\n"
    ))?;
    Ok(ExitCode::SUCCESS)
}
