//! `sallyport load`: copies artefacts from a directory into a registry or a cache.

use super::output::print;
use super::registry::RemoteArgs;
use crate::registry::Layout;
use anyhow::{Result, bail};
use clap::Args;
use sallyport_core::manifest::RepositoryPrefix;
use std::path::PathBuf;
use std::process::ExitCode;

/// Load what `sallyport save` has written: into a registry, or into the cache of a host
///
/// In a registry, each repository keeps its path below that of --to, so that a mirror in the
/// HostConfig can stand for the original. Signatures stay valid for the original's name.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct LoadArgs {
    /// The directory
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// A registry, or a path in one. Without it, the artefacts go into --registry-cache
    #[arg(long, value_name = "REGISTRY[/PATH]")]
    to: Option<RepositoryPrefix>,
    #[command(flatten)]
    remote: RemoteArgs,
}

const EXAMPLES: &str = "\
Examples:
  sallyport load policies --to registry.internal/mirror
    # ghcr.io/acme/p is now registry.internal/mirror/acme/p; in the HostConfig:
    # registries: { mirrors: [{ of: ghcr.io, at: registry.internal/mirror }] }
  sallyport load policies --registry-cache /var/cache/sallyport/registry
    # a host with that --registry-cache serves references with a digest without any registry";

/// Runs the subcommand.
///
/// # Errors
///
/// When the directory is none of `save`, is damaged, or the registry does not take it.
pub(super) fn run(args: &LoadArgs) -> Result<ExitCode> {
    let layout = Layout::open(&args.directory)?;
    let loaded = match (&args.to, args.remote.registry.cache(None)) {
        (Some(to), _) => args
            .remote
            .session(&args.remote.config()?)?
            .load(&layout, to)?,
        (None, Some(cache)) => layout.load_into(&cache)?,
        (None, None) => bail!("where to? Name a registry with --to, or a --registry-cache"),
    };
    if loaded.is_empty() {
        bail!("{}: no policy in it", args.directory.display());
    }
    let lines: String = loaded
        .iter()
        .map(|reference| format!("{reference}\n"))
        .collect();
    print(&lines)?;
    Ok(ExitCode::SUCCESS)
}
