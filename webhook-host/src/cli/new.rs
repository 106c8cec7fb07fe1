//! `sallyport new`: a policy crate that builds, with manifest, suite and README.

use super::output::print;
use anyhow::{Context as _, bail};
use clap::Args;
use sallyport_core::manifest::is_label;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Create a policy: a crate of its own with settings, a manifest and a test suite.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct NewArgs {
    /// Name of policy, crate and directory: lower-case words with '-' between them.
    name: String,
    /// The SDK's source, policy-wasm in a clone of Sallyport [default: the released crate].
    #[arg(long, value_name = "PATH")]
    sdk: Option<PathBuf>,
    /// Where to create it [default: ./NAME].
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Example:
  sallyport new required-labels --sdk ~/src/sallyport/policy-wasm
  cd required-labels
  cargo test
  cargo build --release --target wasm32-unknown-unknown
  sallyport test .";

/// Path and template of each file.
const FILES: [(&str, &str); 8] = [
    ("Cargo.toml", include_str!("new/rust/Cargo.toml.txt")),
    (
        ".cargo/config.toml",
        include_str!("new/rust/.cargo/config.toml.txt"),
    ),
    (".gitignore", "/target\n"),
    ("policy.wit", include_str!("new/common/policy.wit.txt")),
    ("src/lib.rs", include_str!("new/rust/src/lib.rs.txt")),
    ("policy.yaml", include_str!("new/common/policy.yaml.txt")),
    ("suite.yaml", include_str!("new/common/suite.yaml.txt")),
    ("README.md", include_str!("new/rust/README.md.txt")),
];

/// Words that cargo, Rust or WIT keep for themselves.
const RESERVED: [&str; 33] = [
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
    let sdk = sdk(args.sdk.as_deref())?;
    for (path, template) in FILES {
        let file = directory.join(path);
        let parent = file.parent().unwrap_or(&directory);
        fs::create_dir_all(parent)
            .with_context(|| format!("{}: can't be created", parent.display()))?;
        fs::write(&file, fill(template, &args.name, &sdk))
            .with_context(|| format!("{}: can't be written", file.display()))?;
    }
    print(&format!(
        "created {shown}; next: cd {shown} && cargo build --release --target \
         wasm32-unknown-unknown && sallyport test .\n"
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// The name stands in Kubernetes, in cargo and in WIT, where every word begins with a letter.
fn check_name(name: &str) -> anyhow::Result<()> {
    let word = |word: &str| word.starts_with(|c: char| c.is_ascii_lowercase());
    if !is_label(name) || !name.split('-').all(word) {
        bail!(
            "{name:?} can't be a policy's name; use lower-case words that begin with a letter, \
             with '-' between them, at most 63 characters, such as required-labels"
        );
    }
    if RESERVED.contains(&name) {
        bail!("{name:?} is a reserved word of Rust or WIT; use two words, such as my-{name}");
    }
    Ok(())
}

/// The dependency on `sallyport-policy`, as Cargo.toml writes it.
fn sdk(path: Option<&Path>) -> anyhow::Result<String> {
    let Some(path) = path else {
        return Ok(format!("{:?}", env!("CARGO_PKG_VERSION")));
    };
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
    Ok(format!("{{ path = {:?} }}", path.display().to_string()))
}

fn fill(template: &str, name: &str, sdk: &str) -> String {
    template
        .replace("{{name}}", name)
        .replace("{{crate}}", &name.replace('-', "_"))
        .replace("{{type}}", &type_name(name))
        .replace("{{sdk}}", sdk)
}

/// `required-labels` is `RequiredLabels`.
fn type_name(name: &str) -> String {
    let capital = |word: &str| format!("{}{}", word[..1].to_uppercase(), &word[1..]);
    name.split('-').map(capital).collect()
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
            &"a".repeat(64),
        ] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
