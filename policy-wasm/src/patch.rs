//! JSON Patches that an API server accepts.
//!
//! A patch is made from the Service that it is for, and every operation fits that object: only what is present is removed,
//! a parent map is created before something is added under it, and what is already so is left alone. Status and managedFields
//! are out of reach.

use crate::service::{Pair, Service, ServiceType};
use crate::text::json_string;
use crate::verdict::{PatchOperation, PatchValue, Verdict};

/// The answer of [`crate::Policy::mutate`]. Empty: leave the object alone. It has no room for a violation.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Mutation {
    /// From a [`Patch`].
    pub patch: Vec<PatchOperation>,
    /// Shown to the client.
    pub warnings: Vec<String>,
    /// For the API server's audit log.
    pub audit_annotations: Vec<Pair>,
}

impl From<Mutation> for Verdict {
    fn from(Mutation { patch, warnings, audit_annotations }: Mutation) -> Self {
        Self { violations: vec![], warnings, audit_annotations, patch }
    }
}

/// A field of `spec` that can be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpecField {
    /// `allocateLoadBalancerNodePorts`
    AllocateLoadBalancerNodePorts,
    /// `externalIPs`
    ExternalIps,
    /// `externalName`
    ExternalName,
    /// `externalTrafficPolicy`
    ExternalTrafficPolicy,
    /// `healthCheckNodePort`
    HealthCheckNodePort,
    /// `loadBalancerClass`
    LoadBalancerClass,
    /// `loadBalancerIP`
    LoadBalancerIp,
    /// `loadBalancerSourceRanges`
    LoadBalancerSourceRanges,
}

impl SpecField {
    /// The field's name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::AllocateLoadBalancerNodePorts => "allocateLoadBalancerNodePorts",
            Self::ExternalIps => "externalIPs",
            Self::ExternalName => "externalName",
            Self::ExternalTrafficPolicy => "externalTrafficPolicy",
            Self::HealthCheckNodePort => "healthCheckNodePort",
            Self::LoadBalancerClass => "loadBalancerClass",
            Self::LoadBalancerIp => "loadBalancerIP",
            Self::LoadBalancerSourceRanges => "loadBalancerSourceRanges",
        }
    }

    /// Whether a Service has it.
    pub fn is_present(self, service: &Service) -> bool {
        let spec = &service.spec;
        match self {
            Self::AllocateLoadBalancerNodePorts => spec.allocate_load_balancer_node_ports.is_some(),
            Self::ExternalIps => !spec.external_ips.is_empty(),
            Self::ExternalName => spec.external_name.is_some(),
            Self::ExternalTrafficPolicy => spec.external_traffic_policy.is_some(),
            Self::HealthCheckNodePort => spec.health_check_node_port.is_some(),
            Self::LoadBalancerClass => spec.load_balancer_class.is_some(),
            Self::LoadBalancerIp => spec.load_balancer_ip.is_some(),
            Self::LoadBalancerSourceRanges => !spec.load_balancer_source_ranges.is_empty(),
        }
    }
}

/// One of the two maps of metadata that a patch may touch.
#[derive(Clone, Copy)]
enum MetadataMap {
    Labels,
    Annotations,
}

impl MetadataMap {
    fn path(self) -> &'static str {
        match self {
            Self::Labels => "/metadata/labels",
            Self::Annotations => "/metadata/annotations",
        }
    }

    fn of(self, service: &Service) -> &[Pair] {
        match self {
            Self::Labels => &service.metadata.labels,
            Self::Annotations => &service.metadata.annotations,
        }
    }
}

/// A patch in the making.
#[derive(Debug)]
pub struct Patch<'a> {
    service: &'a Service,
    operations: Vec<PatchOperation>,
}

impl<'a> Patch<'a> {
    /// A patch for this object, empty so far.
    pub fn new(service: &'a Service) -> Self {
        Self { service, operations: vec![] }
    }

    /// Sets `spec.type`.
    pub fn set_type(&mut self, service_type: ServiceType) -> &mut Self {
        if self.service.spec.type_ != Some(service_type) {
            self.add_to_spec("type", json_string(service_type.as_str()));
        }
        self
    }

    /// Removes `spec.ports[].nodePort`, wherever one is.
    pub fn remove_node_ports(&mut self) -> &mut Self {
        let ports = self.service.spec.ports.iter().enumerate();
        let paths = ports.filter(|(_, port)| port.node_port.is_some()).map(|(i, _)| format!("/spec/ports/{i}/nodePort"));
        self.operations.extend(paths.map(PatchOperation::Remove));
        self
    }

    /// Removes a field of `spec`, if it is present.
    pub fn remove(&mut self, field: SpecField) -> &mut Self {
        if field.is_present(self.service) {
            self.operations.push(PatchOperation::Remove(format!("/spec/{}", field.name())));
        }
        self
    }

    /// Sets an annotation.
    pub fn set_annotation(&mut self, key: &str, value: &str) -> &mut Self {
        self.set_pair(MetadataMap::Annotations, key, value)
    }

    /// Removes an annotation, if it is present.
    pub fn remove_annotation(&mut self, key: &str) -> &mut Self {
        self.remove_pair(MetadataMap::Annotations, key)
    }

    /// Sets a label.
    pub fn set_label(&mut self, key: &str, value: &str) -> &mut Self {
        self.set_pair(MetadataMap::Labels, key, value)
    }

    /// Removes a label, if it is present.
    pub fn remove_label(&mut self, key: &str) -> &mut Self {
        self.remove_pair(MetadataMap::Labels, key)
    }

    /// The patch as the answer of [`crate::Policy::mutate`].
    pub fn finish(&mut self) -> Mutation {
        Mutation { patch: std::mem::take(&mut self.operations), ..Mutation::default() }
    }

    fn add_to_spec(&mut self, field: &str, json: String) {
        if !self.service.has_spec {
            self.create_map("/spec");
        }
        self.add(format!("/spec/{field}"), json);
    }

    fn set_pair(&mut self, map: MetadataMap, key: &str, value: &str) -> &mut Self {
        let pairs = map.of(self.service);
        if crate::pairs::get(pairs, key) == Some(value) {
            return self;
        }
        // An empty map and an absent one look alike here; replacing an empty map by another does no harm.
        if pairs.is_empty() {
            self.create_map(map.path());
        }
        self.add(format!("{}/{}", map.path(), pointer(key)), json_string(value));
        self
    }

    fn remove_pair(&mut self, map: MetadataMap, key: &str) -> &mut Self {
        if crate::pairs::get(map.of(self.service), key).is_some() {
            self.operations.push(PatchOperation::Remove(format!("{}/{}", map.path(), pointer(key))));
        }
        self
    }

    fn create_map(&mut self, path: &str) {
        let created = self.operations.iter().any(|operation| matches!(operation, PatchOperation::Add(add) if add.path == path));
        if !created {
            self.add(path.to_owned(), "{}".to_owned());
        }
    }

    fn add(&mut self, path: String, json: String) {
        self.operations.push(PatchOperation::Add(PatchValue { path, value: json }));
    }
}

/// A key as a step of a JSON Pointer (RFC 6901).
fn pointer(key: &str) -> String {
    let mut step = String::with_capacity(key.len());
    for c in key.chars() {
        match c {
            '~' => step.push_str("~0"),
            '/' => step.push_str("~1"),
            _ => step.push(c),
        }
    }
    step
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::*;

    fn texts(mutation: Mutation) -> Vec<String> {
        let text = |operation| match operation {
            PatchOperation::Add(PatchValue { path, value }) => format!("add {path} {value}"),
            PatchOperation::Replace(PatchValue { path, value }) => format!("replace {path} {value}"),
            PatchOperation::Remove(path) => format!("remove {path}"),
        };
        mutation.patch.into_iter().map(text).collect()
    }

    #[test]
    fn what_is_absent_is_not_removed() {
        let service = cluster_ip("web");
        let mut patch = Patch::new(&service);
        for field in [SpecField::ExternalIps, SpecField::LoadBalancerIp, SpecField::ExternalTrafficPolicy] {
            patch.remove(field);
        }
        patch.remove_node_ports().remove_annotation("a").remove_label("b");
        assert_eq!(texts(patch.finish()), Vec::<String>::new());
    }

    #[test]
    fn what_is_so_already_is_left_alone() {
        let mut service = cluster_ip("web");
        service.metadata.annotations = vec![("a".into(), "1".into())];
        let mutation = Patch::new(&service).set_type(ServiceType::ClusterIp).set_annotation("a", "1").finish();
        assert_eq!(texts(mutation), Vec::<String>::new());
    }

    #[test]
    fn a_parent_is_created_once_and_pointers_are_escaped() {
        let service = cluster_ip("web");
        let mutation = Patch::new(&service).set_annotation("a~b/c", "x\"y").set_annotation("d", "2").finish();
        let expected = [
            "add /metadata/annotations {}",
            r#"add /metadata/annotations/a~0b~1c "x\"y""#,
            r#"add /metadata/annotations/d "2""#,
        ];
        assert_eq!(texts(mutation), expected);
    }

    #[test]
    fn a_spec_is_created_where_there_is_none() {
        let mutation = Patch::new(&Service::default()).set_type(ServiceType::ClusterIp).finish();
        assert_eq!(texts(mutation), ["add /spec {}", r#"add /spec/type "ClusterIP""#]);
    }

    #[test]
    fn node_ports_are_removed_one_by_one() {
        let mut service = node_port("web", 80, 30080);
        service.spec.ports.push(port(81));
        service.spec.ports.push(port(82));
        service.spec.ports[2].node_port = Some(30082);
        let mutation = Patch::new(&service).remove_node_ports().finish();
        assert_eq!(texts(mutation), ["remove /spec/ports/0/nodePort", "remove /spec/ports/2/nodePort"]);
    }
}
