//! The API server's own words for a value that it refuses, as `kubectl` prints them.
//!
//! They are those of Kubernetes 1.36 (`field.Error` in k8s.io/apimachinery, `encoding/json` of Go).
//! `tests/kubectl/refusals.json` holds what a real API server said, and a test compares.

use super::names::{is_qualified, is_subdomain};
use crate::contract::review::PortRange;
use crate::yaml;
use serde_json::Value;

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters \
    or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', \
    regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric \
    characters, '-' or '.', and must start and end with an alphanumeric character (e.g. \
    'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric \
    characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. \
    'MyValue',  or 'my_value',  or '12345', regex used for validation is \
    '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

const NAME_PART: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and \
    must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or \
    '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

const KEY: &str = "a valid label key must consist of alphanumeric characters, '-', '_' or '.', and \
    must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or \
    '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an \
    optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";

/// The range of a number of a port.
pub(crate) const PORT: &str = "must be between 1 and 65535, inclusive";

/// The form of an address.
pub(crate) const IP: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";

/// The form of a range.
pub(crate) const CIDR: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

/// The type that some fields are for.
pub(crate) const OF_LOAD_BALANCERS: &str = "may only be used when `type` is 'LoadBalancer'";

/// Letters of a DNS label.
const MAX_LABEL: usize = 63;

/// Returns the words for a text that is no DNS label; `None` where there are several reasons.
pub(crate) fn label(text: &str) -> Option<String> {
    let is_long = text.len() > MAX_LABEL;
    let has_form = text
        .split('.')
        .all(|part| !part.is_empty() && is_subdomain(part));
    match (is_long, has_form, text.contains('.')) {
        (true, true, false) => Some(invalid(text, "must be no more than 63 characters")),
        (true, ..) => None,
        (false, true, _) => Some(invalid(text, "must not contain dots")),
        (false, false, _) => Some(invalid(text, LABEL)),
    }
}

/// Returns the words for a text that is no DNS name.
pub(crate) fn subdomain(text: &str) -> Option<String> {
    let is_short = text.len() <= MAX_LABEL;
    is_short.then(|| match text {
        "" => required(""),
        text => invalid(text, SUBDOMAIN),
    })
}

/// Returns the words for a text that is no key of a label; `None` where there are several reasons.
pub(crate) fn key(text: &str) -> Option<String> {
    let parts: Vec<_> = text.split('/').collect();
    let why = match parts.as_slice() {
        [name] | [_, name] if name.is_empty() || name.len() > MAX_LABEL => return None,
        [_] => NAME_PART.to_owned(),
        [prefix, _] if is_subdomain(prefix) => NAME_PART.to_owned(),
        ["", _] => return None,
        [prefix, name] if is_qualified(name) && prefix.len() <= MAX_LABEL => {
            format!("prefix part {SUBDOMAIN}")
        }
        [_, _] => return None,
        _ => KEY.to_owned(),
    };
    Some(invalid(text, &why))
}

/// Returns the words for a text that is no value of a label; `None` where there are several
/// reasons.
pub(crate) fn label_value(text: &str) -> Option<String> {
    match text.len() > MAX_LABEL {
        true => None,
        false => Some(invalid(text, LABEL_VALUE)),
    }
}

/// Returns the words for a text that is no name of a container's port; `None` where there are
/// several reasons.
pub(crate) fn port_name(text: &str) -> Option<String> {
    let is_odd = |c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    let reasons = [
        (text.len() > 15, "must be no more than 15 characters"),
        (
            text.contains(is_odd),
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
        ),
        (
            !text.contains(|c: char| c.is_ascii_lowercase()),
            "must contain at least one letter (a-z)",
        ),
        (text.contains("--"), "must not contain consecutive hyphens"),
        (
            text.starts_with('-') || text.ends_with('-'),
            "must not begin or end with a hyphen",
        ),
    ];
    let mut reasons = reasons.iter().filter(|(holds, _)| *holds);
    match (reasons.next(), reasons.next()) {
        (Some((_, why)), None) => Some(invalid(text, why)),
        _ => None,
    }
}

/// Returns the words for an external IP with a special meaning, by Sallyport's word for it.
pub(crate) fn special(text: &str, what: &str) -> Option<String> {
    let why = match what {
        "a loopback address" => "may not be in the loopback range (127.0.0.0/8, ::1/128)",
        "a link-local address" => "may not be in the link-local range (169.254.0.0/16, fe80::/10)",
        "a link-local multicast address" => {
            "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
        }
        _ if text == "0.0.0.0" => "may not be unspecified (0.0.0.0)",
        _ => return None,
    };
    Some(invalid(text, why))
}

/// Returns the words for a port that stands twice.
pub(crate) fn duplicate_port(protocol: &str, number: i32) -> String {
    format!(
        "Duplicate value: {{\"Name\":\"\",\"Protocol\":{},\"AppProtocol\":null,\"Port\":{number},\
         \"TargetPort\":0,\"NodePort\":0}}",
        Value::from(protocol)
    )
}

/// Returns the words for a value that is missing.
pub(crate) fn required(detail: &str) -> String {
    with_detail("Required value", detail)
}

/// Returns the words for a value that may not be there.
pub(crate) fn forbidden(detail: &str) -> String {
    with_detail("Forbidden", detail)
}

/// Returns the words for a value that stands twice.
pub(crate) fn duplicate(value: impl Into<Value>) -> String {
    format!("Duplicate value: {}", value.into())
}

/// Returns the words for a value of another form.
pub(crate) fn invalid(value: impl Into<Value>, detail: &str) -> String {
    with_detail(&format!("Invalid value: {}", value.into()), detail)
}

/// Returns the words for a value that is none of some.
pub(crate) fn unsupported(value: impl Into<Value>, supported: &[&str]) -> String {
    let supported: Vec<_> = supported.iter().map(|word| format!("{word:?}")).collect();
    format!(
        "Unsupported value: {}: supported values: {}",
        value.into(),
        supported.join(", ")
    )
}

/// Returns the reason for which a node port is not allocated.
pub(crate) fn out_of_range(range: PortRange) -> String {
    let PortRange { from, to } = range;
    format!("provided port is not in the valid range. The range of valid ports is {from}-{to}")
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
pub(crate) fn undecodable(path: &str, found: &Value) -> Option<String> {
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
    let mut rows = GO_TYPES.lines().map(|row| row.split(' '));
    let mut row = rows.find_map(|mut row| (row.next() == Some(path)).then_some(row))?;
    let (structure, ty) = (row.next()?, row.next()?);
    Some((structure, if is_item { row.next()? } else { ty }))
}

/// Path, structure, type, and type of the items, of the fields that people write.
const GO_TYPES: &str = "\
metadata.annotations ObjectMeta map[string]string string
metadata.labels ObjectMeta map[string]string string
metadata.name ObjectMeta string
metadata.namespace ObjectMeta string
spec Service v1.ServiceSpec
spec.allocateLoadBalancerNodePorts ServiceSpec bool
spec.clusterIP ServiceSpec string
spec.clusterIPs ServiceSpec []string string
spec.externalIPs ServiceSpec []string string
spec.externalName ServiceSpec string
spec.externalTrafficPolicy ServiceSpec v1.ServiceExternalTrafficPolicy
spec.healthCheckNodePort ServiceSpec int32
spec.internalTrafficPolicy ServiceSpec v1.ServiceInternalTrafficPolicy
spec.ipFamilies ServiceSpec []v1.IPFamily v1.IPFamily
spec.ipFamilyPolicy ServiceSpec v1.IPFamilyPolicy
spec.loadBalancerClass ServiceSpec string
spec.loadBalancerIP ServiceSpec string
spec.loadBalancerSourceRanges ServiceSpec []string string
spec.ports ServiceSpec []v1.ServicePort v1.ServicePort
spec.ports.appProtocol ServicePort string
spec.ports.name ServicePort string
spec.ports.nodePort ServicePort int32
spec.ports.port ServicePort int32
spec.ports.protocol ServicePort v1.Protocol
spec.ports.targetPort ServicePort int32
spec.publishNotReadyAddresses ServiceSpec bool
spec.selector ServiceSpec map[string]string string
spec.sessionAffinity ServiceSpec v1.ServiceAffinity
spec.sessionAffinityConfig ServiceSpec v1.SessionAffinityConfig
spec.trafficDistribution ServiceSpec string
spec.type ServiceSpec v1.ServiceType";

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
        assert_eq!(undecodable("status.loadBalancer", &json!(true)), None);
    }

    #[test]
    fn values_are_quoted_as_json() {
        assert_eq!(duplicate("a"), "Duplicate value: \"a\"");
        assert_eq!(
            invalid(70000, PORT),
            format!("Invalid value: 70000: {PORT}")
        );
        assert_eq!(
            unsupported("tcp", &["SCTP", "TCP"]),
            "Unsupported value: \"tcp\": supported values: \"SCTP\", \"TCP\""
        );
    }
}
