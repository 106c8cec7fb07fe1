//! The API server's own words for a value that it refuses, as `kubectl` prints them.
//!
//! They are those of Kubernetes 1.36 (`field.Error` in k8s.io/apimachinery, `encoding/json` of Go).
//! `tests/kubectl/refusals.json` holds what a real API server said, and a test compares.

use crate::yaml;
use serde_json::Value;

/// The form of a DNS label.
pub(super) const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric \
    characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or \
    '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";

/// The form of a key.
pub(super) const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or \
    '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or \
    '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

/// The form of the value of a label.
pub(super) const LABEL_VALUE: &str = "a valid label must be an empty string or consist of \
    alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character \
    (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
    '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/// The form of a number of a port.
pub(super) const PORT: &str = "must be between 1 and 65535, inclusive";

/// Returns the words for a value that is missing.
pub(super) fn required(detail: &str) -> String {
    with_detail("Required value", detail)
}

/// Returns the words for a value that may not be there.
pub(super) fn forbidden(detail: &str) -> String {
    with_detail("Forbidden", detail)
}

/// Returns the words for a value that stands twice.
pub(super) fn duplicate(value: impl Into<Value>) -> String {
    format!("Duplicate value: {}", value.into())
}

/// Returns the words for a value of another form.
pub(super) fn invalid(value: impl Into<Value>, detail: &str) -> String {
    with_detail(&format!("Invalid value: {}", value.into()), detail)
}

/// Returns the words for a value that is none of some.
pub(super) fn unsupported(value: impl Into<Value>, supported: &[&str]) -> String {
    let mut supported: Vec<String> = supported.iter().map(|word| format!("{word:?}")).collect();
    supported.sort();
    format!(
        "Unsupported value: {}: supported values: {}",
        value.into(),
        supported.join(", ")
    )
}

/// Returns the words for a node port that the API server does not allocate.
pub(super) fn out_of_range(number: i64, from: u16, to: u16) -> String {
    let detail =
        format!("provided port is not in the valid range. The range of valid ports is {from}-{to}");
    invalid(number, &detail)
}

fn with_detail(words: &str, detail: &str) -> String {
    if detail.is_empty() {
        words.to_owned()
    } else {
        format!("{words}: {detail}")
    }
}

/// Returns the words of Go's decoder for a value of a wrong type at this path; `None` where they
/// are not known.
pub(super) fn undecodable(path: &str, found: &Value) -> Option<String> {
    let (plain, is_item) = without_indexes(path);
    let (structure, ty) = go_type(&plain, is_item)?;
    let found = match found {
        Value::Null => return None,
        Value::Bool(_) => "bool".to_owned(),
        Value::String(_) => "string".to_owned(),
        Value::Array(_) => "array".to_owned(),
        Value::Object(_) => "object".to_owned(),
        // A number is quoted where its type would do, but not its value.
        Value::Number(number) if ty == "int32" => format!("number {number}"),
        Value::Number(_) => "number".to_owned(),
    };
    Some(format!(
        "json: cannot unmarshal {found} into Go struct field {structure}.{plain} of type {ty}"
    ))
}

/// Returns the path as Go has it: without indexes and keys of maps. The flag says if it ends in
/// one.
fn without_indexes(path: &str) -> (String, bool) {
    let steps = yaml::steps(path);
    let is_index = |step: &String| step.parse::<usize>().is_ok();
    let named = steps.iter().filter(|step| !is_index(step));
    let plain = named.map(String::as_str).collect::<Vec<_>>().join(".");
    let map = MAPS
        .iter()
        .find(|map| plain.starts_with(&format!("{map}.")));
    match map {
        Some(map) => ((*map).to_owned(), true),
        None => (plain, steps.last().is_some_and(is_index)),
    }
}

/// The maps of texts, whose keys are no part of a path in Go.
const MAPS: [&str; 3] = ["spec.selector", "metadata.labels", "metadata.annotations"];

/// Returns structure and type of a field of a Service, or of the items of one.
fn go_type(path: &str, is_item: bool) -> Option<(&'static str, &'static str)> {
    let (structure, ty, item) = GO_TYPES
        .iter()
        .find(|(field, ..)| *field == path)
        .map(|(_, structure, ty, item)| (*structure, *ty, *item))?;
    let ty = if is_item { item } else { ty };
    (!ty.is_empty()).then_some((structure, ty))
}

/// Path, structure, type, and type of the items, of the fields that people write.
const GO_TYPES: [(&str, &str, &str, &str); 28] = [
    (
        "metadata.annotations",
        "ObjectMeta",
        "map[string]string",
        "string",
    ),
    (
        "metadata.labels",
        "ObjectMeta",
        "map[string]string",
        "string",
    ),
    ("spec", "Service", "v1.ServiceSpec", ""),
    (
        "spec.allocateLoadBalancerNodePorts",
        "ServiceSpec",
        "bool",
        "",
    ),
    ("spec.clusterIP", "ServiceSpec", "string", ""),
    ("spec.clusterIPs", "ServiceSpec", "[]string", "string"),
    ("spec.externalIPs", "ServiceSpec", "[]string", "string"),
    ("spec.externalName", "ServiceSpec", "string", ""),
    (
        "spec.externalTrafficPolicy",
        "ServiceSpec",
        "v1.ServiceExternalTrafficPolicy",
        "",
    ),
    ("spec.healthCheckNodePort", "ServiceSpec", "int32", ""),
    (
        "spec.internalTrafficPolicy",
        "ServiceSpec",
        "v1.ServiceInternalTrafficPolicy",
        "",
    ),
    (
        "spec.ipFamilies",
        "ServiceSpec",
        "[]v1.IPFamily",
        "v1.IPFamily",
    ),
    (
        "spec.ipFamilyPolicy",
        "ServiceSpec",
        "v1.IPFamilyPolicy",
        "",
    ),
    ("spec.loadBalancerClass", "ServiceSpec", "string", ""),
    ("spec.loadBalancerIP", "ServiceSpec", "string", ""),
    (
        "spec.loadBalancerSourceRanges",
        "ServiceSpec",
        "[]string",
        "string",
    ),
    (
        "spec.ports",
        "ServiceSpec",
        "[]v1.ServicePort",
        "v1.ServicePort",
    ),
    ("spec.ports.appProtocol", "ServicePort", "string", ""),
    ("spec.ports.name", "ServicePort", "string", ""),
    ("spec.ports.nodePort", "ServicePort", "int32", ""),
    ("spec.ports.port", "ServicePort", "int32", ""),
    ("spec.ports.protocol", "ServicePort", "v1.Protocol", ""),
    ("spec.publishNotReadyAddresses", "ServiceSpec", "bool", ""),
    (
        "spec.selector",
        "ServiceSpec",
        "map[string]string",
        "string",
    ),
    (
        "spec.sessionAffinity",
        "ServiceSpec",
        "v1.ServiceAffinity",
        "",
    ),
    (
        "spec.sessionAffinityConfig",
        "ServiceSpec",
        "v1.SessionAffinityConfig",
        "",
    ),
    ("spec.trafficDistribution", "ServiceSpec", "string", ""),
    ("spec.type", "ServiceSpec", "v1.ServiceType", ""),
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_wrong_type_is_named_as_go_names_it() {
        for (path, found, expected) in [
            (
                "spec.ports[0].port",
                json!("80"),
                "json: cannot unmarshal string into Go struct field ServicePort.spec.ports.port of \
                 type int32",
            ),
            (
                "spec.ports[3]",
                json!(80),
                "json: cannot unmarshal number into Go struct field ServiceSpec.spec.ports of type \
                 v1.ServicePort",
            ),
            (
                "spec.selector[\"a.b/c\"]",
                json!(true),
                "json: cannot unmarshal bool into Go struct field ServiceSpec.spec.selector of \
                 type string",
            ),
            (
                "spec.selector.app",
                json!({}),
                "json: cannot unmarshal object into Go struct field ServiceSpec.spec.selector of \
                 type string",
            ),
        ] {
            assert_eq!(
                undecodable(path, &found).as_deref(),
                Some(expected),
                "{path}"
            );
        }
        assert_eq!(undecodable("spec.ports[0].targetPort", &json!(true)), None);
    }

    #[test]
    fn values_are_quoted_as_json() {
        assert_eq!(duplicate("a"), "Duplicate value: \"a\"");
        assert_eq!(
            invalid(70000, PORT),
            format!("Invalid value: 70000: {PORT}")
        );
        assert_eq!(
            unsupported("tcp", &["TCP", "SCTP"]),
            "Unsupported value: \"tcp\": supported values: \"SCTP\", \"TCP\""
        );
    }
}
