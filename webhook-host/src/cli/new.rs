//! `sallyport new`: a project that builds, with manifest, suite, Makefile and README.
//!
//! It works offline: the program carries the contract and the SDK along (`build.rs`), and a project
//! gets a copy of what its language needs.

mod language;

use super::output::print;
use anyhow::{Context as _, bail};
use clap::Args;
use language::Language;
use sallyport_core::manifest::is_label;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

/// Create a policy: a project with settings, a manifest, a test suite and a Makefile.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct NewArgs {
    /// Name of policy, project and directory: lower-case words with '-' between them.
    name: String,
    /// The language of the policy.
    #[arg(long, value_name = "LANGUAGE", value_enum, default_value_t = Language::Rust)]
    lang: Language,
    /// For Rust: the SDK's source, policy-wasm in a clone of Sallyport [default: a copy in sdk/].
    #[arg(long, value_name = "PATH")]
    sdk: Option<PathBuf>,
    /// Where to create it [default: ./NAME].
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Example:
  sallyport new required-labels --lang javascript
  cd required-labels
  make test

`make` builds the component, and says what it needs. Each project has a README.md.";

/// Words that cargo, Rust or WIT keep for themselves, and the name of a module in each project.
const RESERVED: [&str; 34] = [
    "as",
    "async",
    "await",
    "bool",
    "break",
    "char",
    "const",
    "crate",
    "enum",
    "export",
    "fn",
    "func",
    "import",
    "include",
    "interface",
    "list",
    "mod",
    "option",
    "package",
    "policy",
    "record",
    "resource",
    "result",
    "sallyport-policy",
    "self",
    "static",
    "stream",
    "string",
    "test",
    "type",
    "use",
    "variant",
    "with",
    "world",
];

/// Runs the subcommand.
///
/// # Errors
///
/// When the name can't be used, the directory exists, or a file can't be written.
pub(super) fn run(args: &NewArgs) -> anyhow::Result<ExitCode> {
    check_name(&args.name)?;
    let directory = args
        .path
        .clone()
        .unwrap_or_else(|| PathBuf::from(&args.name));
    let shown = directory.display();
    if directory.exists() {
        bail!("{shown} exists already; choose another name, or another place with --path");
    }
    let sdk = sdk(args)?;
    for (path, text) in args.lang.files(&args.name, sdk.as_deref()) {
        let file = directory.join(path);
        let parent = file.parent().unwrap_or(&directory);
        fs::create_dir_all(parent)
            .with_context(|| format!("{}: can't be created", parent.display()))?;
        fs::write(&file, text).with_context(|| format!("{}: can't be written", file.display()))?;
    }
    print(&format!("created {shown}; next: cd {shown} && make test\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// Checks the name of a project. Kubernetes, cargo and WIT must all accept it, and in WIT every
/// word begins with a letter.
fn check_name(name: &str) -> anyhow::Result<()> {
    let word = |word: &str| word.starts_with(|c: char| c.is_ascii_lowercase());
    if !is_label(name) || !name.split('-').all(word) {
        bail!(
            "{name:?} can't be a policy's name; use lower-case words that begin with a letter, \
             with '-' between them, at most 63 characters, such as required-labels"
        );
    }
    if RESERVED.contains(&name) {
        bail!("{name:?} is reserved; use two words, such as my-{name}");
    }
    Ok(())
}

/// Returns the dependency on the SDK that `--sdk` names, as Cargo.toml writes it.
fn sdk(args: &NewArgs) -> anyhow::Result<Option<String>> {
    let Some(path) = &args.sdk else {
        return Ok(None);
    };
    if args.lang != Language::Rust {
        bail!("--sdk is for --lang rust alone; leave it out");
    }
    let shown = path.display();
    let advice = "name the folder policy-wasm in a clone of Sallyport";
    let manifest = fs::read_to_string(path.join("Cargo.toml"))
        .with_context(|| format!("--sdk {shown}: no crate; {advice}"))?;
    if !manifest.contains("name = \"sallyport-policy\"") {
        bail!("--sdk {shown}: another crate than sallyport-policy; {advice}");
    }
    let path = path
        .canonicalize()
        .with_context(|| format!("--sdk {shown}"))?;
    let path = path.display().to_string();
    Ok(Some(format!("{{ path = {path:?} }}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_valid_in_kubernetes_cargo_and_wit() {
        for name in ["required-labels", "a", "x509-rules"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in [
            "",
            "A",
            "a_b",
            "a--b",
            "-a",
            "a-",
            "1a",
            "a-1",
            "ä",
            "../x",
            "world",
            "policy",
            &"a".repeat(64),
        ] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
