//! Inputs of the review benchmarks: bodies sent by a kube-apiserver 1.36, and the shipped policies.

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A create of a NodePort Service with an explicit node port, 1.7 KB.
pub(crate) const NODE_PORT: &str = "018-validate-CREATE-services-nodeport-explicit";
/// A create of a ClusterIP Service, the most frequent type.
pub(crate) const CLUSTER_IP: &str = "012-validate-CREATE-services-clusterip";

/// The four oldest policies, for comparable figures over time.
pub(crate) const FOUR: [&str; 4] = [
    "service-type",
    "nodeport-range",
    "loadbalancer-cloud-only",
    "clusterip-internal",
];

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Returns the directory with the components and manifests that `make policies` builds.
pub(crate) fn directory() -> PathBuf {
    root().join("target/policies")
}

pub(crate) fn body(name: &str) -> Result<Vec<u8>> {
    let file = root().join(format!("tests/admission-reviews/{name}.json"));
    std::fs::read(&file).with_context(|| file.display().to_string())
}

/// Lists all shipped policies.
pub(crate) fn names() -> Result<Vec<String>> {
    let entries = std::fs::read_dir(directory()).context("run `make policies` first")?;
    let files = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    let manifests = files
        .iter()
        .filter(|file| file.extension().is_some_and(|end| end == "yaml"));
    let mut names: Vec<_> = manifests
        .filter_map(|file| Some(file.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

/// Returns a policy's shipped manifest with a long deadline, so that the cost of a too large
/// Service can be measured.
pub(crate) fn manifest(name: &str) -> Result<Value> {
    let text = std::fs::read_to_string(directory().join(format!("{name}.yaml")))
        .context("run `make policies` first")?;
    let documents = sallyport_core::yaml::documents(&text)?;
    let [manifest] = documents.as_slice() else {
        bail!("{name}.yaml: expected one manifest")
    };
    let mut manifest = manifest.clone();
    manifest["spec"]["limits"]["deadline"] = "10s".into();
    Ok(manifest)
}

pub(crate) fn component(name: &str) -> Result<Vec<u8>> {
    let module = directory().join(format!("{}.wasm", name.replace('-', "_")));
    std::fs::read(&module)
        .with_context(|| format!("{}: run `make policies` first", module.display()))
}

/// Returns the review with `count` more annotations of `bytes` in all.
pub(crate) fn with_annotations(review: &Value, bytes: usize, count: usize) -> Value {
    let mut review = review.clone();
    let annotation = |i| {
        let key = format!("example.com/annotation-{i:04}");
        let value = "x".repeat((bytes / count).saturating_sub(key.len()));
        (key, value.into())
    };
    let annotations: serde_json::Map<_, _> = (0..count).map(annotation).collect();
    review["request"]["object"]["metadata"]["annotations"] = annotations.into();
    review
}
