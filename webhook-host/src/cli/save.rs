//! `sallyport save`: copies artefacts from registries into a directory.

use super::output::print;
use super::registry::RemoteArgs;
use crate::registry::Layout;
use anyhow::Result;
use clap::Args;
use sallyport_core::manifest::Reference;
use std::path::PathBuf;
use std::process::ExitCode;

/// Save policy components with their signatures into a directory, to carry them where no registry
/// is reached
///
/// The directory is an OCI image layout. `sallyport load` brings it into a registry or a cache.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct SaveArgs {
    /// The artefacts
    #[arg(value_name = "REFERENCE", required = true)]
    references: Vec<Reference>,
    /// The directory; what it already holds stays
    #[arg(long, short, value_name = "DIR")]
    output: PathBuf,
    #[command(flatten)]
    remote: RemoteArgs,
}

const EXAMPLES: &str = "\
Examples:
  sallyport save ghcr.io/acme/nodeport-range:1.2.0 ghcr.io/acme/service-type:2.0.1 -o policies
  tar -cf policies.tar policies                              # and over to the other network
  sallyport load policies --to registry.internal/mirror";

/// Runs the subcommand.
///
/// # Errors
///
/// When an artefact can't be pulled, or the directory can't be written.
pub(super) fn run(args: &SaveArgs) -> Result<ExitCode> {
    let session = args.remote.session(&args.remote.config()?)?;
    let mut layout = Layout::create(&args.output)?;
    let mut saved = String::new();
    for reference in &args.references {
        saved += &format!("{}\n", session.save(reference, &mut layout)?);
    }
    layout.finish()?;
    print(&saved)?;
    Ok(ExitCode::SUCCESS)
}
