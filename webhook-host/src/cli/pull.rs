//! `sallyport pull`: copies a component from a registry into a file.

use super::output::print;
use super::registry::{RemoteArgs, write_file};
use anyhow::Result;
use clap::Args;
use sallyport_core::manifest::{Mode, Reference};
use std::path::PathBuf;
use std::process::ExitCode;

/// Pull a policy component from an OCI registry
///
/// Prints the reference with the digest, as spec.module.oci of a ServicePolicy takes it. The
/// component is checked against its digest and, with --config, for its signatures.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct PullArgs {
    /// The artefact: registry/repository:tag, registry/repository@sha256:..., or both
    #[arg(value_name = "REFERENCE")]
    reference: Reference,
    /// Write the component into this file [default: only print the digest]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    remote: RemoteArgs,
}

const EXAMPLES: &str = "\
Examples:
  sallyport pull ghcr.io/acme/nodeport-range:1.2.0           # which digest is that?
  sallyport pull ghcr.io/acme/nodeport-range:1.2.0 -o nodeport_range.wasm";

/// Runs the subcommand.
///
/// # Errors
///
/// When the artefact can't be pulled or is none of a policy, or the file can't be written.
pub(super) fn run(args: &PullArgs) -> Result<ExitCode> {
    let session = args.remote.session(&args.remote.config()?)?;
    let pulled = session.pull(&args.reference, Mode::Enforce)?;
    if let Some(file) = &args.output {
        write_file(file, &pulled.component)?;
    }
    let reference = Reference {
        digest: Some(pulled.digest),
        ..args.reference.clone()
    };
    print(&format!("{reference}\n"))?;
    Ok(ExitCode::SUCCESS)
}
