//! `sallyport completions` and `sallyport man`: files that packages install, made from the
//! definitions of the command line itself.

use super::output::print;
use anyhow::Context as _;
use clap::Args;
use clap_complete::{Shell, generate};
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

/// Print the completions of a shell
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CompletionsArgs {
    shell: Shell,
}

const EXAMPLES: &str = "\
Examples:
  sallyport completions bash > ~/.local/share/bash-completion/completions/sallyport
  sallyport completions zsh > ~/.zfunc/_sallyport      # with fpath+=~/.zfunc before compinit
  sallyport completions fish > ~/.config/fish/completions/sallyport.fish
  sallyport completions powershell >> $PROFILE";

/// Write the manual: a page for the program and one for each subcommand
#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Directory for the pages; it is created if it is missing
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// Prints the completions.
///
/// # Errors
///
/// Fails when standard output can't be written.
pub(super) fn run(args: &CompletionsArgs) -> anyhow::Result<ExitCode> {
    let mut script = vec![];
    // Shells complete by the name of a program: a plugin of kubectl is completed by kubectl.
    generate(
        args.shell,
        &mut super::command("sallyport"),
        "sallyport",
        &mut script,
    );
    print(&String::from_utf8(script)?)?;
    Ok(ExitCode::SUCCESS)
}

/// Write the manual pages.
///
/// # Errors
///
/// Fails when the directory can't be created or written.
pub(super) fn man(args: &ManArgs) -> anyhow::Result<ExitCode> {
    let written = fs::create_dir_all(&args.directory)
        .and_then(|()| clap_mangen::generate_to(super::command("sallyport"), &args.directory));
    written.with_context(|| format!("can't write to {}", args.directory.display()))?;
    Ok(ExitCode::SUCCESS)
}
