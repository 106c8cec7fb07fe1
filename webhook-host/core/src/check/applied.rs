//! One Service, applied: the one answer that a client of the API server gets, warnings and denial
//! included.
//!
//! Takes the same way as `judge`, for one choice of node ports, and says beside it what each of the
//! three types would get. An API server that refuses the Service itself says so before it asks a
//! validating webhook ([`Rejection`]). Called by `check`.

use super::allocation::Choice;
use super::judge::Judge;
use super::owned;
use super::request::{Request, key, name};
use super::strict::{self, Rejection};
use crate::admission::{AdmissionResponse, Function, Outcome};
use crate::api_server::defaults;
use crate::contract::review::Phase;
use crate::yaml::Located;
use serde_json::{Map, Value};

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
    /// The webhook's answer. Its warnings begin with those of the mutating phase.
    pub response: AdmissionResponse,
    /// The refusal of the API server itself, for which no validating webhook is asked.
    pub rejection: Option<Rejection>,
    /// The answers to this Service if it were new and had each of the types.
    pub types: Vec<AsType>,
}

/// The answer to a Service that had another type.
#[derive(Debug, Clone)]
pub struct AsType {
    /// The type.
    pub kind: &'static str,
    /// The fields of the manifest that this type does not allow, with their values, and that were
    /// left out.
    pub left_out: Vec<(String, Value)>,
    /// The webhook's answer.
    pub response: AdmissionResponse,
    /// The refusal of the API server itself.
    pub rejection: Option<Rejection>,
}

/// The way of a request through the webhooks.
struct Admitted<'a> {
    /// The request that was judged at the end.
    request: Request<'a>,
    response: AdmissionResponse,
    rejection: Option<Rejection>,
}

impl Judge<'_> {
    /// Applies one Service.
    ///
    /// # Errors
    ///
    /// When it can't be put into a review; `judge` reports why.
    pub(super) fn apply(&self, located: &Located) -> Result<Applied, String> {
        let written = located.value();
        let undecoded = strict::undecoded(located);
        let mut defaulted = written.clone();
        let (namespace, shown) = key(&defaulted, self.namespace);
        defaults::apply(&mut defaulted);
        let name = name(&defaulted);
        let old = self.old(&namespace, &name);
        let request = Request {
            service: defaulted.clone(),
            old,
            namespace,
            name,
            sub_resource: None,
            located,
        };
        let of_type = |kind: &'static str| {
            let (request, left_out) = as_type(&request, kind, &written);
            let admitted = self.admit(request)?;
            Ok(AsType {
                kind,
                left_out,
                response: admitted.response,
                rejection: undecoded.clone().or(admitted.rejection),
            })
        };
        let types = TYPES.into_iter().map(of_type);
        let types = types.collect::<Result<_, String>>()?;
        let service = format!("{}/{shown}", request.namespace);
        let admitted = self.admit(request)?;
        Ok(Applied {
            service,
            line: located.line(),
            old: admitted.request.old.as_deref().cloned(),
            defaulted,
            stored: admitted.request.service,
            response: admitted.response,
            rejection: undecoded.or(admitted.rejection),
            types,
        })
    }

    /// Asks `/mutate`, lets the API server validate and allocate, and asks `/validate`.
    fn admit<'a>(&self, mut request: Request<'a>) -> Result<Admitted<'a>, String> {
        let text = |error: &dyn std::error::Error| error.to_string();
        owned::write(&mut request.service, request.old.as_deref());
        let mutated = self.ask(Function::Mutate, &request, &request.service)?;
        if let Some(patch) = &mutated.response.patch {
            let patch: json_patch::Patch =
                serde_json::from_str(patch).map_err(|error| text(&error))?;
            json_patch::patch(&mut request.service, &patch).map_err(|error| text(&error))?;
            defaults::apply(&mut request.service);
        }
        let range = self
            .reviewer
            .admission
            .inventory()
            .view()
            .cluster()
            .node_ports;
        let old = request.old.as_deref();
        let rejection = strict::invalid(&request.service, old, range, request.located);
        let (_, completed) = request.complete(Choice::first(range), range);
        let validate = Function::Validate(Phase::Validating);
        let Outcome { mut response, .. } = self.ask(validate, &completed, &completed.service)?;
        let mut warnings = mutated.response.warnings;
        warnings.append(&mut response.warnings);
        response.warnings = warnings;
        Ok(Admitted {
            request: completed,
            response,
            rejection,
        })
    }
}

/// Returns a new Service that differs in its type, without fields that the type does not allow, and
/// those of them that the manifest has.
fn as_type<'a>(
    request: &Request<'a>,
    kind: &str,
    written: &Value,
) -> (Request<'a>, Vec<(String, Value)>) {
    let mut request = Request {
        old: None,
        ..request.clone()
    };
    let mut left_out = vec![];
    let mut leave_out =
        |object: &mut Map<String, Value>, at: &str, written: &Value, field: &str| {
            object.remove(field);
            if let Some(value) = written.get(field).filter(|value| !value.is_null()) {
                left_out.push((format!("{at}.{field}"), value.clone()));
            }
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
            leave_out(spec, "spec", &written["spec"], field);
        }
        let ports = spec.get_mut("ports").and_then(Value::as_array_mut);
        let ports = ports.into_iter().flatten().enumerate();
        for (index, port) in ports.filter(|_| kind == "ClusterIP") {
            if let Some(port) = port.as_object_mut() {
                let at = format!("spec.ports[{index}]");
                leave_out(port, &at, &written["spec"]["ports"][index], "nodePort");
            }
        }
    }
    defaults::apply(&mut request.service);
    (request, left_out)
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
        NodePort, ports: [{name: a, port: 80}, {name: b, port: 81, nodePort: 30081}]}\n";

    #[test]
    fn what_is_applied_has_defaults_and_allocated_ports() {
        let applied = &applied(WEB, "")[0];
        assert!(applied.response.allowed && applied.old.is_none());
        assert_eq!(applied.service, "default/web");
        assert_eq!(applied.stored["spec"]["ports"][0]["nodePort"], 30000);
        assert_eq!(applied.stored["spec"]["ports"][1]["nodePort"], 30081);
        assert_eq!(applied.defaulted["spec"]["sessionAffinity"], "None");
        let types: Vec<_> = applied.types.iter().map(|it| it.kind).collect();
        assert_eq!(types, TYPES);
    }

    #[test]
    fn an_old_service_makes_it_an_update() {
        let old = applied(WEB, WEB)[0].old.clone().expect("an update");
        assert_eq!(old["spec"]["ports"][0]["nodePort"], 30000);
    }

    #[test]
    fn the_api_server_itself_refuses_before_a_webhook_is_asked() {
        let rejection = |text: &str| applied(text, "")[0].rejection.clone();
        assert_eq!(rejection(WEB), None);
        let quoted = WEB.replace("30081", "\"30081\"");
        let Some(Rejection::BadRequest(problem)) = rejection(&quoted) else {
            panic!("{:?}", rejection(&quoted));
        };
        assert!(problem.is_verbatim && problem.text.contains("ServicePort.spec.ports.nodePort"));
        let outside = WEB.replace("30081", "29999");
        let Some(Rejection::Invalid(problems)) = rejection(&outside) else {
            panic!("{:?}", rejection(&outside));
        };
        assert_eq!(problems[0].field, "spec.ports[1].nodePort");
        let cluster_ip = &applied(&outside, "")[0].types[0];
        assert_eq!(
            (cluster_ip.kind, &cluster_ip.rejection),
            ("ClusterIP", &None)
        );
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
        let (other, left_out) = as_type(&request, "ClusterIP", &request.service);
        assert_eq!(other.old, None);
        assert_eq!(other.service["spec"]["ports"][1].get("nodePort"), None);
        let node_port = ("spec.ports[1].nodePort".to_owned(), Value::from(30081));
        assert_eq!(left_out, [node_port]);
        let (same, left_out) = as_type(&request, "NodePort", &request.service);
        assert_eq!(same.service["spec"]["ports"][1]["nodePort"], 30081);
        assert_eq!(left_out, []);
    }
}
