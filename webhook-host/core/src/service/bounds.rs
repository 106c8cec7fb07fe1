//! Limits on the size of the parts of a Service that policies see: an API server's own limits
//! first, then ours.
//!
//! A larger part is refused, with its field (rule S16), before any policy is asked. Otherwise a
//! client could make a policy miss its deadline, which allows the request if the policy fails open.
//! Our own limits are far above what people write. Checked before the Service is converted, so that
//! nothing large is copied. Called by the parent module.

use super::Malformed;
use crate::excerpt::excerpt;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, OwnerReference};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::BTreeMap;

/// Bytes of all annotations, keys and values (`TotalAnnotationSizeLimitB` in k8s.io/apimachinery
/// `pkg/api/validation`).
const MAX_ANNOTATIONS: usize = 256 << 10;

/// Bytes of a label's value (k8s.io/apimachinery `pkg/util/validation`).
const MAX_LABEL_VALUE: usize = 63;

/// Bytes of any other text: a qualified name, the longest that an API server takes, has 253, a
/// slash, and 63.
const MAX_TEXT: usize = 253 + 1 + 63;

/// Bytes of all texts. etcd takes 1.5 MiB by default (`--max-request-bytes`), for the whole object.
const MAX_ALL_TEXT: usize = 3 << 19;

/// Labels, annotations, or entries of a selector. Ours: Kubernetes counts none of them, and each is
/// compared with each row of some policies' tables.
const MAX_PAIRS: usize = 1000;

/// External IPs or source ranges. Ours: clouds' own limits for rules of a firewall are lower.
const MAX_ADDRESSES: usize = 1000;

/// Ports. Ours: an API server allocates node ports for about half as many.
const MAX_PORTS: usize = 5000;

/// Ingress points in the status. Ours: some load balancers list each node, and Kubernetes supports
/// 5,000 nodes.
const MAX_INGRESS: usize = 5000;

/// Ports of all ingress points. Ours.
const MAX_INGRESS_PORTS: usize = 10_000;

/// Cluster IPs, or IP families. Ours: an API server takes one of each family.
const MAX_FAMILIES: usize = 16;

/// Finalizers, or owner references. Ours: Kubernetes counts neither.
const MAX_HOLDERS: usize = 256;

/// Conditions. Ours: each has its own type, and Kubernetes itself writes one.
const MAX_CONDITIONS: usize = 100;

/// Bytes of a condition's reason and message (the schema of `metav1.Condition`).
const MAX_REASON: usize = 1024;
const MAX_MESSAGE: usize = 32 << 10;

/// Entries of managedFields. Ours: an API server merges all but ten of those that don't apply.
const MAX_MANAGERS: usize = 256;

/// Checks a Service, its metadata, and how many managers it has.
pub(super) fn check(
    service: &core::Service,
    meta: &ObjectMeta,
    managers: usize,
) -> Result<(), Malformed> {
    entries("metadata.managedFields", managers, MAX_MANAGERS)?;
    let mut texts = Texts::default();
    texts.metadata(meta)?;
    service
        .spec
        .as_ref()
        .map_or(Ok(()), |spec| texts.spec(spec))?;
    service
        .status
        .as_ref()
        .map_or(Ok(()), |status| texts.status(status))?;
    if texts.bytes > MAX_ALL_TEXT {
        let problem = format!(
            "its texts have {} bytes, and etcd takes {MAX_ALL_TEXT} at most; shorten it",
            texts.bytes
        );
        return Err(Malformed::new("", problem));
    }
    Ok(())
}

/// All texts so far.
#[derive(Default)]
struct Texts {
    bytes: usize,
}

impl Texts {
    fn metadata(&mut self, meta: &ObjectMeta) -> Result<(), Malformed> {
        self.text("metadata.name", meta.name.as_deref())?;
        self.text("metadata.generateName", meta.generate_name.as_deref())?;
        self.text("metadata.namespace", meta.namespace.as_deref())?;
        self.text("metadata.uid", meta.uid.as_deref())?;
        self.labels("metadata.labels", meta.labels.as_ref())?;
        self.list("metadata.finalizers", meta.finalizers.as_ref(), MAX_HOLDERS)?;
        self.owners(meta.owner_references.as_deref().unwrap_or_default())?;
        let annotations = meta.annotations.iter().flatten();
        entries(
            "metadata.annotations",
            annotations.clone().count(),
            MAX_PAIRS,
        )?;
        let bytes = annotations
            .map(|(key, value)| key.len() + value.len())
            .sum();
        self.bytes += bytes;
        at_most(
            "metadata.annotations",
            bytes,
            MAX_ANNOTATIONS,
            "bytes in all",
            "shorten or remove some",
        )
    }

    fn owners(&mut self, owners: &[OwnerReference]) -> Result<(), Malformed> {
        const FIELD: &str = "metadata.ownerReferences";
        entries(FIELD, owners.len(), MAX_HOLDERS)?;
        for (index, owner) in owners.iter().enumerate() {
            for (member, text) in [
                ("apiVersion", &owner.api_version),
                ("kind", &owner.kind),
                ("name", &owner.name),
                ("uid", &owner.uid),
            ] {
                self.text_at(|| format!("{FIELD}[{index}].{member}"), Some(text))?;
            }
        }
        Ok(())
    }

    fn spec(&mut self, spec: &core::ServiceSpec) -> Result<(), Malformed> {
        self.labels("spec.selector", spec.selector.as_ref())?;
        for (field, text) in [
            ("spec.clusterIP", &spec.cluster_ip),
            ("spec.externalName", &spec.external_name),
            ("spec.externalTrafficPolicy", &spec.external_traffic_policy),
            ("spec.loadBalancerClass", &spec.load_balancer_class),
            ("spec.loadBalancerIP", &spec.load_balancer_ip),
            ("spec.ipFamilyPolicy", &spec.ip_family_policy),
            ("spec.internalTrafficPolicy", &spec.internal_traffic_policy),
            ("spec.sessionAffinity", &spec.session_affinity),
            ("spec.trafficDistribution", &spec.traffic_distribution),
        ] {
            self.text(field, text.as_deref())?;
        }
        for (field, list, most) in [
            ("spec.clusterIPs", &spec.cluster_ips, MAX_FAMILIES),
            ("spec.ipFamilies", &spec.ip_families, MAX_FAMILIES),
            ("spec.externalIPs", &spec.external_ips, MAX_ADDRESSES),
            (
                "spec.loadBalancerSourceRanges",
                &spec.load_balancer_source_ranges,
                MAX_ADDRESSES,
            ),
        ] {
            self.list(field, list.as_ref(), most)?;
        }
        entries(
            "spec.ports",
            spec.ports.as_ref().map_or(0, Vec::len),
            MAX_PORTS,
        )?;
        spec.ports
            .iter()
            .flatten()
            .enumerate()
            .try_for_each(|(index, port)| self.port(index, port))
    }

    fn port(&mut self, index: usize, port: &core::ServicePort) -> Result<(), Malformed> {
        let target = match &port.target_port {
            Some(IntOrString::String(name)) => Some(name.as_str()),
            _ => None,
        };
        for (member, text) in [
            ("name", port.name.as_deref()),
            ("protocol", port.protocol.as_deref()),
            ("appProtocol", port.app_protocol.as_deref()),
            ("targetPort", target),
        ] {
            self.text_at(|| format!("spec.ports[{index}].{member}"), text)?;
        }
        Ok(())
    }

    fn status(&mut self, status: &core::ServiceStatus) -> Result<(), Malformed> {
        const FIELD: &str = "status.loadBalancer.ingress";
        self.conditions(status.conditions.as_deref().unwrap_or_default())?;
        let ingress = status
            .load_balancer
            .as_ref()
            .and_then(|balancer| balancer.ingress.as_ref());
        entries(FIELD, ingress.map_or(0, Vec::len), MAX_INGRESS)?;
        let ports = ingress
            .into_iter()
            .flatten()
            .flat_map(|point| &point.ports)
            .map(Vec::len)
            .sum();
        at_most(
            FIELD,
            ports,
            MAX_INGRESS_PORTS,
            "ports in all",
            "remove some",
        )?;
        for (index, point) in ingress.into_iter().flatten().enumerate() {
            let at = |member: &str| format!("{FIELD}[{index}].{member}");
            self.text_at(|| at("ip"), point.ip.as_deref())?;
            self.text_at(|| at("hostname"), point.hostname.as_deref())?;
            self.text_at(|| at("ipMode"), point.ip_mode.as_deref())?;
            for port in point.ports.iter().flatten() {
                self.text_at(|| at("ports"), Some(&port.protocol))?;
                self.text_at(|| at("ports"), port.error.as_deref())?;
            }
        }
        Ok(())
    }

    fn conditions(&mut self, conditions: &[Condition]) -> Result<(), Malformed> {
        const FIELD: &str = "status.conditions";
        entries(FIELD, conditions.len(), MAX_CONDITIONS)?;
        for (index, condition) in conditions.iter().enumerate() {
            for (member, text, most) in [
                ("type", &condition.type_, MAX_TEXT),
                ("status", &condition.status, MAX_TEXT),
                ("reason", &condition.reason, MAX_REASON),
                ("message", &condition.message, MAX_MESSAGE),
            ] {
                self.bytes += text.len();
                let at = format!("{FIELD}[{index}].{member}");
                at_most(&at, text.len(), most, "bytes", "shorten it")?;
            }
        }
        Ok(())
    }

    /// Checks a list of short texts.
    fn list(
        &mut self,
        field: &str,
        list: Option<&Vec<String>>,
        most: usize,
    ) -> Result<(), Malformed> {
        entries(field, list.map_or(0, Vec::len), most)?;
        for (index, text) in list.into_iter().flatten().enumerate() {
            self.text_at(|| format!("{field}[{index}]"), Some(text))?;
        }
        Ok(())
    }

    /// Checks labels, or a label selector.
    fn labels(
        &mut self,
        field: &str,
        labels: Option<&BTreeMap<String, String>>,
    ) -> Result<(), Malformed> {
        entries(field, labels.map_or(0, BTreeMap::len), MAX_PAIRS)?;
        for (key, value) in labels.into_iter().flatten() {
            self.bytes += key.len() + value.len();
            let at = || format!("{field}[{:?}]", excerpt(key));
            if key.len() > MAX_TEXT {
                return at_most(&at(), key.len(), MAX_TEXT, "bytes as a key", "shorten it");
            }
            if value.len() > MAX_LABEL_VALUE {
                return at_most(&at(), value.len(), MAX_LABEL_VALUE, "bytes", "shorten it");
            }
        }
        Ok(())
    }

    fn text(&mut self, field: &str, text: Option<&str>) -> Result<(), Malformed> {
        self.text_at(|| field.to_owned(), text)
    }

    fn text_at(
        &mut self,
        field: impl FnOnce() -> String,
        text: Option<&str>,
    ) -> Result<(), Malformed> {
        let length = text.map_or(0, str::len);
        self.bytes += length;
        if length > MAX_TEXT {
            at_most(&field(), length, MAX_TEXT, "bytes", "shorten it")
        } else {
            Ok(())
        }
    }
}

fn entries(field: &str, found: usize, most: usize) -> Result<(), Malformed> {
    at_most(field, found, most, "entries", "remove some")
}

fn at_most(field: &str, found: usize, most: usize, unit: &str, fix: &str) -> Result<(), Malformed> {
    if found <= most {
        return Ok(());
    }
    Err(Malformed::new(
        field,
        format!("expected at most {most} {unit}, found {found}; {fix}"),
    ))
}

#[cfg(test)]
mod tests {
    use crate::service::from_value;
    use serde_json::{Value, json};

    fn pairs(count: usize, value: &str) -> Value {
        (0..count)
            .map(|i| (format!("k{i}"), Value::from(value)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }

    fn metadata(member: &str, value: Value) -> Value {
        json!({"metadata": {member: value}, "spec": {}})
    }

    fn spec(member: &str, value: Value) -> Value {
        json!({"spec": {member: value}})
    }

    fn ingress(points: Value) -> Value {
        json!({"spec": {}, "status": {"loadBalancer": {"ingress": points}}})
    }

    /// Services at a limit, and the error of the next larger one.
    fn limits() -> Vec<(Value, Value, &'static str)> {
        let text = |length: usize| Value::from("x".repeat(length));
        let ips = |count: usize| spec("externalIPs", json!(vec!["192.0.2.1"; count]));
        let ranges = |count: usize| {
            spec(
                "loadBalancerSourceRanges",
                json!(vec!["192.0.2.0/24"; count]),
            )
        };
        let ports = |count: usize| spec("ports", json!(vec![json!({"port": 80}); count]));
        let served = |ports: usize| {
            json!([{"ip": "192.0.2.1",
            "ports": vec![json!({"port": 80, "protocol": "TCP"}); ports]}])
        };
        let owners = |count: usize, name: usize| {
            let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": text(name),
                "uid": "u"});
            metadata("ownerReferences", json!(vec![owner; count]))
        };
        let conditions = |count: usize, message: usize| {
            let condition = json!({"type": "t", "status": "True", "reason": "r",
                "message": text(message), "lastTransitionTime": "2026-01-01T00:00:00Z"});
            json!({"spec": {}, "status": {"conditions": vec![condition; count]}})
        };
        let annotation =
            |length: usize| metadata("annotations", json!({"key": "x".repeat(length - 3)}));
        let label = |length: usize| metadata("labels", json!({"app": "x".repeat(length)}));
        let managed =
            |count: usize| metadata("managedFields", json!(vec![json!({"manager": "m"}); count]));
        let port = |member: &str, length: usize| {
            spec("ports", json!([{"port": 80, member: "x".repeat(length)}]))
        };
        vec![
            (
                ips(1000),
                ips(60_000),
                "spec.externalIPs: expected at most 1000 entries, found 60000; remove some",
            ),
            (
                ranges(1000),
                ranges(1001),
                "spec.loadBalancerSourceRanges: expected at most 1000 entries, found 1001",
            ),
            (
                ports(5000),
                ports(5001),
                "spec.ports: expected at most 5000 entries, found 5001",
            ),
            (
                ingress(json!(vec![json!({"ip": "192.0.2.1"}); 5000])),
                ingress(json!(vec![json!({"ip": "192.0.2.1"}); 5001])),
                "status.loadBalancer.ingress: expected at most 5000 entries, found 5001",
            ),
            (
                ingress(served(10_000)),
                ingress(served(10_001)),
                "status.loadBalancer.ingress: expected at most 10000 ports",
            ),
            (
                annotation(262_144),
                annotation(262_145),
                "metadata.annotations: expected at most 262144 bytes in all",
            ),
            (
                metadata("annotations", pairs(1000, "")),
                metadata("annotations", pairs(1001, "")),
                "metadata.annotations: expected at most 1000 entries, found 1001",
            ),
            (
                metadata("labels", pairs(1000, "")),
                metadata("labels", pairs(1001, "")),
                "metadata.labels: expected at most 1000 entries",
            ),
            (
                label(63),
                label(64),
                r#"metadata.labels["app"]: expected at most 63 bytes, found 64; shorten it"#,
            ),
            (
                spec("selector", pairs(1000, "")),
                spec("selector", pairs(1001, "")),
                "spec.selector: expected at most 1000 entries",
            ),
            (
                managed(256),
                managed(257),
                "metadata.managedFields: expected at most 256 entries, found 257",
            ),
            (
                spec("clusterIPs", json!(vec!["192.0.2.1"; 16])),
                spec("clusterIPs", json!(vec!["192.0.2.1"; 17])),
                "spec.clusterIPs: expected at most 16 entries, found 17",
            ),
            (
                spec("ipFamilies", json!(vec!["IPv4"; 16])),
                spec("ipFamilies", json!(vec!["IPv4"; 17])),
                "spec.ipFamilies: expected at most 16 entries, found 17",
            ),
            (
                spec("trafficDistribution", text(317)),
                spec("trafficDistribution", text(318)),
                "spec.trafficDistribution: expected at most 317 bytes",
            ),
            (
                metadata("finalizers", json!(vec!["example.com/x"; 256])),
                metadata("finalizers", json!(vec!["example.com/x"; 257])),
                "metadata.finalizers: expected at most 256 entries, found 257",
            ),
            (
                metadata("uid", text(317)),
                metadata("uid", text(318)),
                "metadata.uid: expected at most 317 bytes",
            ),
            (
                owners(256, 1),
                owners(257, 1),
                "metadata.ownerReferences: expected at most 256 entries, found 257",
            ),
            (
                owners(1, 317),
                owners(1, 318),
                "metadata.ownerReferences[0].name: expected at most 317 bytes, found 318",
            ),
            (
                conditions(100, 1),
                conditions(101, 1),
                "status.conditions: expected at most 100 entries, found 101",
            ),
            (
                conditions(1, 32_768),
                conditions(1, 32_769),
                "status.conditions[0].message: expected at most 32768 bytes, found 32769",
            ),
            (
                spec("externalName", text(317)),
                spec("externalName", text(318)),
                "spec.externalName: expected at most 317 bytes",
            ),
            (
                port("name", 317),
                port("name", 318),
                "spec.ports[0].name: expected at most 317 bytes, found 318",
            ),
            (
                port("targetPort", 317),
                port("targetPort", 318),
                "spec.ports[0].targetPort: expected at most 317 bytes",
            ),
            (
                spec("externalIPs", json!([text(317)])),
                spec("externalIPs", json!([text(318)])),
                "spec.externalIPs[0]: expected",
            ),
            (
                ingress(json!([{"hostname": text(317)}])),
                ingress(json!([{"hostname": text(318)}])),
                "status.loadBalancer.ingress[0].hostname: expected",
            ),
        ]
    }

    #[test]
    fn each_part_has_a_limit_and_the_error_names_it() {
        for (fits, does_not, expected) in limits() {
            from_value(&fits).unwrap_or_else(|error| panic!("{expected}: at the limit: {error}"));
            let error = from_value(&does_not).expect_err(expected).to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn all_texts_together_have_a_limit() {
        let ports = vec![
            json!({"port": 80, "name": "x".repeat(300), "appProtocol": "x".repeat(300)});
            3000
        ];
        let error = from_value(&spec("ports", json!(ports)))
            .expect_err("too large")
            .to_string();
        assert_eq!(
            error,
            "its texts have 1800000 bytes, and etcd takes 1572864 at most; shorten it"
        );
    }

    #[test]
    fn the_error_of_a_long_key_is_short() {
        let error = from_value(&spec("selector", json!({"x".repeat(450_000): "y"})))
            .expect_err("too long")
            .to_string();
        assert!(
            error.starts_with("spec.selector[\"xxx") && error.len() < 700,
            "{error}"
        );
        assert!(
            error.ends_with("expected at most 317 bytes as a key, found 450000; shorten it"),
            "{error}"
        );
    }
}
