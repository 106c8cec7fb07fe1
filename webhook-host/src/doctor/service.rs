//! The field of a Service that Kubernetes has deprecated.

use super::{Diagnosis, Finding, Level};
use serde_json::Value;

/// Checks a Service; `None` for other objects and for Services without external IPs.
pub fn external_ips(object: &Value) -> Option<Diagnosis> {
    let is_service = object["apiVersion"] == "v1" && object["kind"] == "Service";
    let ips = object["spec"]["externalIPs"].as_array();
    let ips = ips.filter(|ips| is_service && !ips.is_empty())?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &object["metadata"];
    let namespace = match text(&metadata["namespace"]) {
        none if none.is_empty() => "default".to_owned(),
        namespace => namespace,
    };
    let shown: Vec<_> = ips.iter().take(MAX_SHOWN).map(text).collect();
    let more = match ips.len().saturating_sub(MAX_SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let finding = Finding {
        level: Level::Warning,
        field: "spec.externalIPs".to_owned(),
        message: format!("{}{more}", shown.join(", ")),
        why: "deprecated since Kubernetes 1.36: API servers warn of the field, and kube-proxy is \
            planned to ignore it from 1.40 on; until then any address can be taken with it \
            (CVE-2020-8554)",
        item: "KEP-5707",
        fix: "use a load balancer whose controller assigns addresses from a pool, or a Gateway"
            .to_owned(),
    };
    Some(Diagnosis {
        kind: "Service",
        name: format!("{namespace}/{}", text(&metadata["name"])),
        ours: false,
        findings: vec![finding],
    })
}

/// The addresses that a finding names.
const MAX_SHOWN: usize = 10;
