//! `sallyport push`: copies a component into a registry.

use super::output::{print, slow_compilation};
use super::registry::RemoteArgs;
use crate::engine::{Engine, EngineConfig};
use crate::evaluator;
use crate::registry::Packed;
use crate::sources::load;
use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use sallyport_core::manifest::Reference;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;

/// Push a policy component to an OCI registry, as a Wasm artefact
///
/// A component with the same annotations has one digest, whenever it is pushed. Name,
/// version, contract and rules are taken from the component.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct PushArgs {
    /// The component
    #[arg(value_name = "X.wasm")]
    component: PathBuf,
    /// Where it goes: registry/repository:tag
    #[arg(value_name = "REFERENCE")]
    reference: Reference,
    /// The component's licence, as an SPDX expression
    #[arg(long, value_name = "SPDX")]
    license: Option<String>,
    /// The address of its source
    #[arg(long, value_name = "URL")]
    source: Option<String>,
    /// Another annotation of the manifest. May be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    annotation: Vec<(String, String)>,
    #[command(flatten)]
    remote: RemoteArgs,
}

const EXAMPLES: &str = "\
Prints the reference with the digest, as spec.module.oci of a ServicePolicy takes it.

Examples:
  sallyport push nodeport_range.wasm ghcr.io/acme/nodeport-range:1.2.0 --license Apache-2.0
  sallyport push policy.wasm localhost:5000/policy:dev       # plain http only on this machine";

/// Runs the subcommand.
///
/// # Errors
///
/// When the component can't serve as a policy, or the registry does not take it.
pub(super) fn run(args: &PushArgs) -> Result<ExitCode> {
    let Reference {
        repository,
        tag: Some(tag),
        digest: None,
    } = &args.reference
    else {
        bail!("{}: a push needs a tag, and no digest", args.reference);
    };
    let path = args.component.display();
    let bytes = load::module_bytes(&args.component)
        .map_err(|problem| anyhow!("{path}: can't be read: {problem}"))?;
    let engine = Engine::new(&EngineConfig {
        concurrency: 1,
        slow: slow_compilation(),
        ..EngineConfig::default()
    })?;
    let inspection = evaluator::inspect(&engine, &bytes)
        .with_context(|| format!("{path}: can't serve as a policy"))?;
    let documentation = inspection.documentation.as_deref().unwrap_or_default();
    let given = [
        ("org.opencontainers.image.licenses", args.license.clone()),
        ("org.opencontainers.image.source", args.source.clone()),
        (
            "org.opencontainers.image.description",
            summary(documentation),
        ),
        ("dev.sallyport.rules", rules(documentation)),
    ];
    let mut annotations: BTreeMap<_, _> = given
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)))
        .collect();
    annotations.extend(args.annotation.iter().cloned());
    let packed = Packed::new(bytes, &inspection, annotations);
    let session = args.remote.session(&args.remote.config()?)?;
    session.push(repository, tag, &packed)?;
    print(&format!("{}@{}\n", args.reference, packed.digest()))?;
    Ok(ExitCode::SUCCESS)
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE, such as org.opencontainers.image.vendor=Acme".to_owned()),
    }
}

/// Returns the first sentence of a component's documentation.
fn summary(documentation: &str) -> Option<String> {
    let paragraph = documentation.split("\n\n").next()?.split_whitespace();
    let paragraph = paragraph.collect::<Vec<_>>().join(" ");
    let end = paragraph.find(". ").map_or(paragraph.len(), |at| at + 1);
    (end > 0).then(|| paragraph[..end].to_owned())
}

/// Returns the ids of rules, such as S02, that a component's documentation names.
fn rules(documentation: &str) -> Option<String> {
    let is_rule = |word: &&str| {
        word.len() == 3 && word.starts_with('S') && word[1..].bytes().all(|b| b.is_ascii_digit())
    };
    let words = documentation.split(|c: char| !c.is_alphanumeric());
    let rules: BTreeSet<_> = words.filter(is_rule).collect();
    let rules: Vec<_> = rules.into_iter().collect();
    (!rules.is_empty()).then(|| rules.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_and_summary_come_from_the_documentation() {
        let text = "Node ports lie in the\nallowed ranges. And more.\n\nRules S11 and S02: (S02).";
        assert_eq!(rules(text).as_deref(), Some("S02,S11"));
        let first = "Node ports lie in the allowed ranges.";
        assert_eq!(summary(text).as_deref(), Some(first));
        assert_eq!((rules("SSH, S1"), summary("")), (None, None));
    }
}
