//! One run of Helm without a cluster.

use sallyport_core::yaml;
use sallyport_tests::root;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// The namespace of the kustomize overlays.
pub(crate) const NAMESPACE: &str = "sallyport-system";

/// Helm: `$SALLYPORT_HELM`, which `make chart` sets, what it has fetched before, or the PATH's.
pub(crate) static HELM: LazyLock<PathBuf> = LazyLock::new(|| program("SALLYPORT_HELM", "helm"));

/// A kubectl that contains kustomize 5.
pub(crate) static KUBECTL: LazyLock<PathBuf> =
    LazyLock::new(|| program("SALLYPORT_KUBECTL", "kubectl"));

fn program(variable: &str, name: &str) -> PathBuf {
    if let Some(given) = std::env::var_os(variable) {
        return root().join(given);
    }
    let fetched = root().join("target").join(name).join(name);
    if fetched.exists() {
        fetched
    } else {
        name.into()
    }
}

/// Returns the directory of the chart.
pub(crate) fn chart() -> PathBuf {
    root().join("deploy/chart/sallyport")
}

/// Kubernetes' objects by kind and name.
pub(crate) type Objects = BTreeMap<String, Value>;

/// Renders the chart as `helm template` does.
///
/// # Errors
///
/// Standard error, when Helm fails.
pub(crate) fn template(arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new(&*HELM);
    command
        .args(["template", "sallyport"])
        .arg(chart())
        .args(["--namespace", NAMESPACE])
        // Without a cluster, Helm assumes the version that it was built with.
        .args(["--kube-version", "1.36"])
        .args(arguments);
    run(&mut command)
}

/// Returns the rendered objects, hooks not among them.
#[track_caller]
pub(crate) fn objects(arguments: &[&str]) -> Objects {
    let text = template(&[arguments, &["--no-hooks"]].concat()).expect("it renders");
    by_name(&text)
}

/// Runs a program and returns its standard output.
///
/// # Errors
///
/// Standard error, when it fails.
pub(crate) fn run(command: &mut Command) -> Result<String, String> {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; run `make chart`"));
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    if output.status.success() {
        Ok(text(output.stdout))
    } else {
        Err(text(output.stderr))
    }
}

/// Reads YAML documents.
///
/// # Panics
///
/// When two objects have one name.
#[track_caller]
pub(crate) fn by_name(text: &str) -> Objects {
    let mut objects = Objects::new();
    for object in yaml::documents(text).expect("YAML") {
        if object.is_null() {
            continue;
        }
        let part = |path: &str| object.pointer(path).and_then(Value::as_str).expect("text");
        let name = format!("{} {}", part("/kind"), part("/metadata/name"));
        assert!(
            objects.insert(name.clone(), object).is_none(),
            "{name} twice"
        );
    }
    objects
}

/// Returns a file of this test binary.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/chart")
        .join(name)
}
