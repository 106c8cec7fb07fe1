//! `sallyport verify`: checks that an artefact in a registry is signed by the right key.

use super::output::print;
use super::registry::RemoteArgs;
use crate::sources::load;
use anyhow::{Context as _, Result, anyhow, ensure};
use clap::Args;
use sallyport_core::manifest::{
    HostConfigSpec, Mode, PublicKey, Reference, Verification, VerificationMode,
};
use std::path::PathBuf;
use std::process::ExitCode;

/// Verify the signatures of an artefact in a registry: by a key, or as a host with this HostConfig
/// would
///
/// Simple signing and Sigstore bundles 0.3 are verified, with keys. Certificates and transparency
/// logs are not looked at.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct VerifyArgs {
    /// The artefact
    #[arg(value_name = "REFERENCE")]
    reference: Reference,
    /// PEM file with a public key; if several are given, one of them must have signed
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    #[command(flatten)]
    remote: RemoteArgs,
}

const EXAMPLES: &str = "\
Examples:
  sallyport verify ghcr.io/acme/nodeport-range:1.2.0 --key policy.pub
  sallyport verify ghcr.io/acme/nodeport-range:1.2.0 --config host.yaml   # spec.verification

Exit code: 0 verified, 2 not.";

/// Runs the subcommand.
///
/// # Errors
///
/// When no signature counts, or there is nothing to verify by.
pub(super) fn run(args: &VerifyArgs) -> Result<ExitCode> {
    let mut config = args.remote.config()?;
    if !args.key.is_empty() {
        config.verification.push(by_keys(args)?);
    }
    let repository = &args.reference.repository;
    let is_about = |rule: &&mut Verification| rule.is_about(repository);
    let mut rules = 0;
    for rule in config.verification.iter_mut().filter(is_about) {
        // A rule that only warns would print nothing here.
        rule.mode = VerificationMode::Require;
        rules += 1;
    }
    ensure!(
        rules > 0,
        "{repository}: verify by which key? Name one with --key, or a HostConfig whose \
         spec.verification is about it with --config"
    );
    let verified = verify(args, &config)?;
    print(&format!("verified {verified}\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn verify(args: &VerifyArgs, config: &HostConfigSpec) -> Result<Reference> {
    let session = args.remote.session(config)?;
    let pulled = session.pull(&args.reference, Mode::Enforce)?;
    Ok(Reference {
        digest: Some(pulled.digest),
        ..args.reference.clone()
    })
}

fn by_keys(args: &VerifyArgs) -> Result<Verification> {
    let read = |file: &PathBuf| {
        let key = load::read_text(file)?.parse::<PublicKey>();
        key.map_err(|problem| anyhow!("{}: {problem}", file.display()))
    };
    let repository = args.reference.repository.to_string();
    let repository = repository
        .parse()
        .map_err(|problem: String| anyhow!(problem));
    Ok(Verification {
        repositories: vec![repository.context("a repository is a pattern of one")?],
        keys: args.key.iter().map(read).collect::<Result<_>>()?,
        mode: VerificationMode::Require,
    })
}
