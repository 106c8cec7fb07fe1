//! `sallyport import`: manifests made of what a cluster has already.

use super::inputs::{PathArgs, objects};
use super::output::{ObjectFormat, note, print};
use crate::import::import;
use crate::report::imported;
use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use sallyport_core::report::counted;
use std::process::ExitCode;

/// Convert a cluster's own admission policies into ServicePolicies.
#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, Subcommand)]
enum From {
    Vap(VapArgs),
}

/// Make ServicePolicies of ValidatingAdmissionPolicies and MutatingAdmissionPolicies, with their
/// bindings.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(mut_arg("paths", |paths| paths.value_name("FILE|-").help("Files with policies, their \
    bindings and the objects that paramRef names (YAML or JSON, Lists too), or - for standard \
    input")))]
#[command(mut_arg("filename", |filename| filename.value_name("FILE|-").help("Another way to name a \
    file. May be repeated")))]
struct VapArgs {
    #[command(flatten)]
    paths: PathArgs,
    /// Format of the manifests.
    #[arg(long, short, value_enum, default_value_t = ObjectFormat::Yaml)]
    output: ObjectFormat,
}

const EXAMPLES: &str = "\
Each binding becomes a ServicePolicy of the component expressions.wasm, which evaluates the same \
    expressions; several, if it has several validationActions or reasons. Standard error says \
    what is different here, and what has no counterpart; YAML has it as comments, too. A policy \
    that the component would refuse is not imported.

Examples:
  kubectl get validatingadmissionpolicies,validatingadmissionpolicybindings -o yaml |
    sallyport import vap - > policies/imported.yaml
  sallyport import vap policy.yaml binding.yaml params.yaml
  sallyport lint policies/ --modules target/policies      # afterwards

Exit code: 0 all of it, 1 something has no counterpart, 2 something can't be read.";

/// Runs the subcommand.
///
/// # Errors
///
/// When a file can't be read, a policy does not decode, or there is none.
pub(super) fn run(args: &ImportArgs) -> Result<ExitCode> {
    let From::Vap(args) = &args.from;
    let mut found = vec![];
    for path in args.paths.all() {
        found.extend(objects(&path)?);
    }
    let import = import(&found)?;
    if import.policies.is_empty() && import.refused.is_empty() && import.unrelated.is_empty() {
        bail!(
            "no ValidatingAdmissionPolicy and no MutatingAdmissionPolicy found ({}); see \
             `sallyport import vap --help` for how to get them",
            counted(import.ignored, "other object")
        );
    }
    for line in imported::lines(&import) {
        note(line);
    }
    if !import.policies.is_empty() {
        print(&match args.output {
            ObjectFormat::Yaml => imported::yaml(&import),
            ObjectFormat::Json => imported::json(&import),
        })?;
    }
    Ok(if import.is_incomplete() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
