//! What the benchmarks of reviews ask: bodies that a kube-apiserver 1.36 sent, and the shipped
//! policies.

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A create of a NodePort Service with a port of its own, 1.7 KB.
pub(crate) const NODE_PORT: &str = "018-validate-CREATE-services-nodeport-explicit";
/// A create of a ClusterIP Service, which is what most Services are.
pub(crate) const CLUSTER_IP: &str = "012-validate-CREATE-services-clusterip";

/// The first four policies, which the host began with.
pub(crate) const FOUR: [&str; 4] = [
    "service-type",
    "nodeport-range",
    "loadbalancer-cloud-only",
    "clusterip-internal",
];

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Components and manifests, as `make policies` leaves them.
pub(crate) fn directory() -> PathBuf {
    root().join("target/policies")
}

pub(crate) fn body(name: &str) -> Result<Vec<u8>> {
    let file = root().join(format!("tests/admission-reviews/{name}.json"));
    std::fs::read(&file).with_context(|| file.display().to_string())
}

/// Every shipped policy.
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

/// A policy's own manifest, with time enough to tell what a large Service costs where that is too
/// much.
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

/// The same review with so many bytes of annotations, in so many of them.
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
