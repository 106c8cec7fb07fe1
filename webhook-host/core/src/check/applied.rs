//! One Service, applied: the one answer that a client of the API server gets, warnings and denial
//! included.
//!
//! Takes the same way as `judge`, for one choice of node ports, and says beside it what each of the
//! three types would get. Called by `check`.

use super::allocation::Choice;
use super::judge::{Judge, Request, key};
use super::{defaults, owned};
use crate::admission::{AdmissionResponse, Function, Outcome};
use crate::contract::review::Phase;
use crate::yaml::Located;
use serde_json::Value;

/// The types of a Service that has ports.
const TYPES: [&str; 3] = ["ClusterIP", "NodePort", "LoadBalancer"];

/// The answer to a Service that was applied.
#[derive(Debug, Clone)]
pub struct Applied {
    /// `namespace/name`.
    pub service: String,
    /// The line at which it begins, from 1.
    pub line: usize,
    /// The Service that it replaces, as it was reviewed.
    pub old: Option<Value>,
    /// The object with the API server's defaults, before any patch.
    pub defaulted: Value,
    /// The object that the policies judged, with patches, allocated ports and managedFields.
    pub stored: Value,
    /// The answer. Its warnings begin with those of the mutating phase.
    pub response: AdmissionResponse,
    /// The answer to this Service if it were new and had each of the types.
    pub types: Vec<(&'static str, AdmissionResponse)>,
}

impl Judge<'_> {
    /// Applies one Service.
    ///
    /// # Errors
    ///
    /// When it can't be put into a review; `judge` reports why.
    pub(super) fn apply(&self, located: &Located) -> Result<Applied, String> {
        let mut defaulted = located.value();
        let (namespace, name) = key(&defaulted, self.namespace);
        defaults::apply(&mut defaulted);
        let old = self.old.get(&(namespace.clone(), name.clone())).cloned();
        let request = Request {
            service: defaulted.clone(),
            old,
            namespace,
            name,
            sub_resource: None,
            located,
        };
        let of_type = |kind: &'static str| {
            let (_, response) = self.admit(as_type(&request, kind))?;
            Ok((kind, response))
        };
        let types = TYPES.into_iter().map(of_type);
        let types = types.collect::<Result<_, String>>()?;
        let service = format!("{}/{}", request.namespace, request.name);
        let (reviewed, response) = self.admit(request)?;
        Ok(Applied {
            service,
            line: located.line(),
            old: reviewed.old.as_deref().cloned(),
            defaulted,
            stored: reviewed.service,
            response,
            types,
        })
    }

    /// Asks `/mutate`, lets the API server allocate, and asks `/validate`. Returns the request that
    /// was judged at the end.
    fn admit<'a>(
        &self,
        mut request: Request<'a>,
    ) -> Result<(Request<'a>, AdmissionResponse), String> {
        let text = |error: &dyn std::error::Error| error.to_string();
        owned::write(&mut request.service, request.old.as_deref());
        let mutated = self.ask(Function::Mutate, &request, &request.service)?;
        if let Some(patch) = &mutated.response.patch {
            let patch: json_patch::Patch =
                serde_json::from_str(patch).map_err(|error| text(&error))?;
            json_patch::patch(&mut request.service, &patch).map_err(|error| text(&error))?;
        }
        let range = self
            .reviewer
            .admission
            .inventory()
            .view()
            .cluster()
            .node_ports;
        let (_, completed) = request.complete(Choice::first(range), range);
        let validate = Function::Validate(Phase::Validating);
        let Outcome { mut response, .. } = self.ask(validate, &completed, &completed.service)?;
        let mut warnings = mutated.response.warnings;
        warnings.append(&mut response.warnings);
        response.warnings = warnings;
        Ok((completed, response))
    }
}

/// Returns a new Service that differs in its type, without fields that the type does not allow.
fn as_type<'a>(request: &Request<'a>, kind: &str) -> Request<'a> {
    let mut request = Request {
        old: None,
        ..request.clone()
    };
    if let Some(spec) = request
        .service
        .get_mut("spec")
        .and_then(Value::as_object_mut)
        && spec.get("type").and_then(Value::as_str) != Some(kind)
    {
        spec.insert("type".to_owned(), kind.into());
        let foreign: &[&str] = match kind {
            "ClusterIP" => &LOAD_BALANCER_AND_NODE_PORT,
            "NodePort" => &LOAD_BALANCER,
            _ => &[],
        };
        for field in foreign.iter().chain(&["externalName"]) {
            spec.remove(*field);
        }
        let ports = spec.get_mut("ports").and_then(Value::as_array_mut);
        for port in ports.into_iter().flatten().filter(|_| kind == "ClusterIP") {
            if let Some(port) = port.as_object_mut() {
                port.remove("nodePort");
            }
        }
    }
    defaults::apply(&mut request.service);
    request
}

/// Fields that only a LoadBalancer may have.
const LOAD_BALANCER: [&str; 5] = [
    "allocateLoadBalancerNodePorts",
    "healthCheckNodePort",
    "loadBalancerClass",
    "loadBalancerIP",
    "loadBalancerSourceRanges",
];

/// Fields that a ClusterIP Service may not have.
const LOAD_BALANCER_AND_NODE_PORT: [&str; 6] = [
    "allocateLoadBalancerNodePorts",
    "externalTrafficPolicy",
    "healthCheckNodePort",
    "loadBalancerClass",
    "loadBalancerIP",
    "loadBalancerSourceRanges",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::Admission;
    use crate::check::{Circumstances, Manifests, Origin, apply};
    use crate::inventory::Inventory;
    use crate::manifest::Exemptions;
    use crate::suite::User;
    use std::sync::Arc;
    use std::time::SystemTime;

    fn applied(objects: &str, old: &str) -> Vec<Applied> {
        let policies: Vec<Arc<crate::policy::Policy>> = vec![];
        let admission = Admission::new(policies, Inventory::default(), Exemptions::default());
        let manifests = |text: &str| {
            let mut manifests = Manifests::default();
            manifests.add("f.yaml", Origin::Named, Ok(text.into()));
            manifests
        };
        let circumstances = Circumstances {
            admission: &admission,
            namespace: "default",
            user: User::default(),
            now: SystemTime::UNIX_EPOCH,
            old: &manifests(old),
            progress: &mut |_, _| {},
        };
        apply(&circumstances, &manifests(objects))
    }

    const WEB: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {type: \
        NodePort, ports: [{port: 80}, {port: 81, nodePort: 30081}]}\n";

    #[test]
    fn what_is_applied_has_defaults_and_allocated_ports() {
        let applied = &applied(WEB, "")[0];
        assert!(applied.response.allowed && applied.old.is_none());
        assert_eq!(applied.service, "default/web");
        assert_eq!(applied.stored["spec"]["ports"][0]["nodePort"], 30000);
        assert_eq!(applied.stored["spec"]["ports"][1]["nodePort"], 30081);
        assert_eq!(applied.defaulted["spec"]["sessionAffinity"], "None");
        let types: Vec<_> = applied.types.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(types, TYPES);
    }

    #[test]
    fn an_old_service_makes_it_an_update() {
        let old = applied(WEB, WEB)[0].old.clone().expect("an update");
        assert_eq!(old["spec"]["ports"][0]["nodePort"], 30000);
    }

    #[test]
    fn another_type_takes_off_what_it_does_not_allow() {
        let located = crate::yaml::located_documents(WEB).expect("YAML");
        let request = Request {
            namespace: "default".to_owned(),
            name: "web".to_owned(),
            service: located[0].value(),
            old: Some(Arc::new(Value::Null)),
            sub_resource: None,
            located: &located[0],
        };
        let other = as_type(&request, "ClusterIP");
        assert_eq!(other.old, None);
        assert_eq!(other.service["spec"]["ports"][1].get("nodePort"), None);
        let same = as_type(&request, "NodePort");
        assert_eq!(same.service["spec"]["ports"][1]["nodePort"], 30081);
    }
}
