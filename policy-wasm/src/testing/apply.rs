//! A patch applied as strictly as an API server does it.

use crate::pairs;
use crate::patch::Mutation;
use crate::service::{Pair, Service, ServiceType};
use crate::verdict::{PatchOperation, PatchValue};

/// Returns the Service after a mutation. A test can then call `validate` on it, or `mutate` once
/// more to see that nothing else changes.
///
/// # Panics
///
/// When an operation does not fit the object: it removes what is absent, adds below what is absent,
/// or touches what no patch may touch. An API server would answer 500 or 422.
#[must_use]
pub fn apply(service: &Service, mutation: &Mutation) -> Service {
    let mut patched = Patched {
        has_labels: !service.metadata.labels.is_empty(),
        has_annotations: !service.metadata.annotations.is_empty(),
        service: service.clone(),
    };
    for operation in &mutation.patch {
        match operation {
            PatchOperation::Add(PatchValue { path, value }) => {
                patched.write(path, Some(value), false)
            }
            PatchOperation::Replace(PatchValue { path, value }) => {
                patched.write(path, Some(value), true)
            }
            PatchOperation::Remove(path) => patched.write(path, None, true),
        }
    }
    patched.service
}

struct Patched {
    service: Service,
    has_labels: bool,
    has_annotations: bool,
}

impl Patched {
    /// Writes a value, or removes it; what is replaced or removed must be present.
    fn write(&mut self, path: &str, value: Option<&str>, must_be_present: bool) {
        let was_present = match path.split('/').collect::<Vec<_>>()[..] {
            ["", "spec"] => {
                assert_eq!(
                    value,
                    Some("{}"),
                    "{path}: only created, never removed or replaced"
                );
                std::mem::replace(&mut self.service.has_spec, true)
            }
            ["", "metadata", "labels"] => create(
                path,
                value,
                &mut self.has_labels,
                &self.service.metadata.labels,
            ),
            ["", "metadata", "annotations"] => create(
                path,
                value,
                &mut self.has_annotations,
                &self.service.metadata.annotations,
            ),
            ["", "metadata", "labels", key] => {
                assert!(self.has_labels, "{path}: the parent is absent");
                write_pair(&mut self.service.metadata.labels, key, value)
            }
            ["", "metadata", "annotations", key] => {
                assert!(self.has_annotations, "{path}: the parent is absent");
                write_pair(&mut self.service.metadata.annotations, key, value)
            }
            ["", "spec", ref field @ ..] => {
                assert!(self.service.has_spec, "{path}: the parent is absent");
                self.write_spec(path, field, value)
            }
            _ => panic!("{path}: no patch may touch it"),
        };
        assert!(was_present || !must_be_present, "{path}: absent");
    }

    fn write_spec(&mut self, path: &str, field: &[&str], value: Option<&str>) -> bool {
        let spec = &mut self.service.spec;
        let text = || value.map(string);
        match *field {
            ["type"] => set(&mut spec.type_, value.map(service_type)),
            ["externalName"] => set(&mut spec.external_name, text()),
            ["externalTrafficPolicy"] => set(&mut spec.external_traffic_policy, text()),
            ["healthCheckNodePort"] => set(&mut spec.health_check_node_port, value.map(number)),
            ["allocateLoadBalancerNodePorts"] => set(
                &mut spec.allocate_load_balancer_node_ports,
                value.map(|value| value == "true"),
            ),
            ["loadBalancerClass"] => set(&mut spec.load_balancer_class, text()),
            ["loadBalancerIP"] => set(&mut spec.load_balancer_ip, text()),
            ["loadBalancerSourceRanges"] => set_list(&mut spec.load_balancer_source_ranges, value),
            ["externalIPs"] => set_list(&mut spec.external_ips, value),
            ["ports", index, "nodePort"] => {
                let port = index
                    .parse()
                    .ok()
                    .and_then(|index: usize| spec.ports.get_mut(index));
                set(
                    &mut port
                        .unwrap_or_else(|| panic!("{path}: no such port"))
                        .node_port,
                    value.map(number),
                )
            }
            _ => panic!("{path}: the SDK's own tests do not know this field"),
        }
    }
}

fn create(path: &str, value: Option<&str>, exists: &mut bool, pairs: &[Pair]) -> bool {
    assert_eq!(
        value,
        Some("{}"),
        "{path}: only created, never removed or replaced"
    );
    assert!(pairs.is_empty(), "{path}: would lose what is there");
    std::mem::replace(exists, true)
}

fn set<T>(field: &mut Option<T>, value: Option<T>) -> bool {
    std::mem::replace(field, value).is_some()
}

fn set_list(field: &mut Vec<String>, value: Option<&str>) -> bool {
    !std::mem::replace(field, value.map(list).unwrap_or_default()).is_empty()
}

fn write_pair(pairs: &mut Vec<Pair>, key: &str, value: Option<&str>) -> bool {
    let key = key.replace("~1", "/").replace("~0", "~");
    let was_present = pairs::get(pairs, &key).is_some();
    pairs.retain(|(other, _)| *other != key);
    pairs.extend(value.map(|value| (key, string(value))));
    pairs.sort();
    was_present
}

fn service_type(json: &str) -> ServiceType {
    use ServiceType::{ClusterIp, ExternalName, LoadBalancer, NodePort};
    let types = [ClusterIp, NodePort, LoadBalancer, ExternalName];
    let text = string(json);
    types
        .into_iter()
        .find(|known| known.as_str() == text)
        .unwrap_or_else(|| panic!("{json} is no type of a Service"))
}

fn number(json: &str) -> i32 {
    json.parse()
        .unwrap_or_else(|_| panic!("{json} is no number of 32 bits"))
}

fn string(json: &str) -> String {
    let (text, rest) = take_string(json);
    assert_eq!(rest, "", "{json} is no JSON string");
    text
}

fn list(json: &str) -> Vec<String> {
    let mut rest = json
        .strip_prefix('[')
        .and_then(|json| json.strip_suffix(']'))
        .unwrap_or_else(|| panic!("{json} is no list"));
    let mut texts = vec![];
    while !rest.is_empty() {
        let (text, after) = take_string(rest.strip_prefix(',').unwrap_or(rest));
        texts.push(text);
        rest = after;
    }
    texts
}

/// Returns the JSON string at the beginning, and what follows it.
fn take_string(json: &str) -> (String, &str) {
    let fail = || -> ! { panic!("{json} is no JSON string") };
    let mut text = String::new();
    let mut chars = json.strip_prefix('"').unwrap_or_else(|| fail()).chars();
    loop {
        match chars.next() {
            Some('"') => return (text, chars.as_str()),
            Some('\\') => text.push(escaped(&mut chars).unwrap_or_else(|| fail())),
            Some(c) if c >= ' ' => text.push(c),
            _ => fail(),
        }
    }
}

fn escaped(chars: &mut std::str::Chars<'_>) -> Option<char> {
    match chars.next()? {
        c @ ('"' | '\\' | '/') => Some(c),
        'b' => Some('\u{8}'),
        'f' => Some('\u{c}'),
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        'u' => {
            let digits = chars.as_str().get(..4)?;
            chars.nth(3);
            u32::from_str_radix(digits, 16)
                .ok()
                .and_then(char::from_u32)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{cluster_ip, labels};

    fn mutation(operation: PatchOperation) -> Mutation {
        Mutation {
            patch: vec![operation],
            ..Mutation::default()
        }
    }

    #[test]
    #[should_panic(expected = "/spec/externalIPs: absent")]
    fn removing_what_is_absent_does_not_fit() {
        let _ = apply(
            &cluster_ip("w"),
            &mutation(PatchOperation::Remove("/spec/externalIPs".into())),
        );
    }

    #[test]
    #[should_panic(expected = "the parent is absent")]
    fn adding_below_what_is_absent_does_not_fit() {
        let value = PatchValue {
            path: "/metadata/annotations/a".into(),
            value: "\"1\"".into(),
        };
        let _ = apply(&cluster_ip("w"), &mutation(PatchOperation::Add(value)));
    }

    #[test]
    #[should_panic(expected = "no patch may touch it")]
    fn the_status_is_out_of_reach() {
        let _ = apply(
            &cluster_ip("w"),
            &mutation(PatchOperation::Remove("/status/loadBalancer".into())),
        );
    }

    #[test]
    fn escapes_are_undone() {
        let value = PatchValue {
            path: "/metadata/annotations/a~01~1b".into(),
            value: r#""x\"\\\u000aü""#.into(),
        };
        let mut service = cluster_ip("w");
        service.metadata.annotations = labels([("z", "")]);
        let patched = apply(&service, &mutation(PatchOperation::Add(value)));
        assert_eq!(
            patched.metadata.annotations,
            labels([("a~1/b", "x\"\\\nü"), ("z", "")])
        );
    }
}
