//! The component `expressions` gives the verdicts of a real API server. The corpus and the answers
//! of the server are in `tests/parity`; `tests/cluster/vap.rs` makes them.

use crate::host::{ENGINE, LONG_DEADLINE, built};
use sallyport::evaluator;
use sallyport::import::{Import, import};
use sallyport_core::admission::{Admission, AdmissionRequest, AdmissionResponse, Clock, Function};
use sallyport_core::contract::review::Phase;
use sallyport_core::inventory::{Inventory, InventoryData};
use sallyport_core::manifest::{Exemptions, ServicePolicy};
use sallyport_core::policy::Deadline;
use sallyport_core::printable::printable;
use sallyport_tests::parity::{
    self, Answer, AnsweredExpressions, AnsweredPolicies, Answers, DIFFERENT, Denied, NAMESPACE,
    Namespace, Operation, PolicyFile, Recorded, Request, Verdict, patchable, showing,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::SystemTime;

/// The number of expressions in one policy.
const CHUNK: usize = 200;

/// Returns what the import makes of objects, ready to be asked.
fn admission(imported: &Import, namespaces: &BTreeMap<String, Namespace>) -> Admission {
    let component = built("policies/expressions.wasm");
    let policies = imported.policies.iter().map(|policy| {
        let manifest = serde_json::to_value(&policy.manifest).expect("JSON");
        let manifest = ServicePolicy::from_value(&manifest).expect("a valid manifest");
        evaluator::load(&ENGINE, manifest, &component)
            .unwrap_or_else(|error| panic!("{}: {error}", policy.source))
    });
    let namespaces: BTreeMap<&String, Value> = namespaces
        .iter()
        .map(|(name, namespace)| {
            let mut labels = namespace.labels.clone();
            labels.insert("kubernetes.io/metadata.name".to_owned(), name.clone());
            let known = json!({"labels": labels, "annotations": namespace.annotations});
            (name, known)
        })
        .collect();
    let inventory: InventoryData =
        serde_json::from_value(json!({"namespaces": namespaces})).expect("an inventory");
    Admission::new(
        policies.collect(),
        Inventory::from(inventory),
        Exemptions::default(),
    )
}

/// Returns an AdmissionReview as the API server that answered would send it.
fn review(request: &Request, recorded: &Recorded) -> Value {
    let kind = json!({"group": "", "version": "v1", "kind": "Service"});
    let resource = json!({"group": "", "version": "v1", "resource": "services"});
    let mut review = json!({
        "uid": "5b8c2f0e-7a3d-4e7c-9a55-2f1d3c4b5a69",
        "kind": kind,
        "resource": resource,
        "requestKind": kind,
        "requestResource": resource,
        "name": request.service(),
        "namespace": request.namespace,
        "operation": request.operation.as_str(),
        "userInfo": recorded.user_info,
        "object": recorded.object,
        "oldObject": recorded.old_object,
        "dryRun": true,
        "options": {},
    });
    if !request.subresource.is_empty() {
        review["subResource"] = request.subresource.as_str().into();
        review["requestSubResource"] = request.subresource.as_str().into();
    }
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": review})
}

fn ask(admission: &Admission, function: Function, review: &Value) -> AdmissionResponse {
    let body = review.to_string().into_bytes();
    let request = AdmissionRequest::parse(&body).expect("a review");
    let clock = Clock {
        now: SystemTime::now(),
        deadline: Deadline::Each(LONG_DEADLINE),
    };
    admission.review(function, &request, clock).response
}

/// Cuts `[policy] ` off.
fn message(line: &str) -> &str {
    line.split_once("] ").map_or(line, |(_, message)| message)
}

#[test]
fn expressions_have_the_values_that_the_api_server_gives_them() {
    let recorded: AnsweredExpressions = Answers::read("expressions");
    let files = parity::expressions();
    let namespaces = BTreeMap::from([(NAMESPACE.to_owned(), Namespace::default())]);
    let mut evaluated = vec![];
    let mut differences = vec![];
    for file in &files {
        let answers = &recorded.files[&file.name].answers;
        let texts = answers.iter().map(|answered| &answered.expression);
        assert!(
            texts.eq(&file.texts),
            "{} has changed; record the answers with WRITE_PARITY=1 (tests/src/parity.rs)",
            file.name
        );
        for ((number, text), answered) in file.numbered().zip(answers) {
            let refused = import(&showing("one", &[(number, text)]))
                .expect("it decodes")
                .refused;
            let here = refused.first().map(|refused| &refused.findings[0].text);
            match (&answered.answer, here) {
                // A policy that can't be loaded is never a wrong verdict.
                (Answer::Value(_) | Answer::Error(_), Some(_)) if file.name == DIFFERENT => {}
                // An API server points at the dot or the parenthesis, this one at the name.
                (Answer::Refused(_), Some(ours)) if is_within(ours, text) => {}
                (answer @ (Answer::Value(_) | Answer::Error(_)), None)
                    if file.name != DIFFERENT =>
                {
                    evaluated.push((file, number, text, answer));
                }
                (answer, here) => differences.push(format!("{text}\n  {answer:?}\n  {here:?}")),
            }
        }
    }
    for chunk in evaluated.chunks(CHUNK) {
        let texts: Vec<(usize, &str)> = chunk
            .iter()
            .map(|(_, number, text, _)| (*number, *text))
            .collect();
        let imported = import(&showing("shown", &texts)).expect("it decodes");
        let admission = admission(&imported, &namespaces);
        for (file, number, text, answer) in chunk {
            let answers = &recorded.files[&file.name];
            let name = format!("case-{number}");
            let mut object = answers.object.clone();
            object["metadata"]["name"] = name.as_str().into();
            let request: Request = serde_json::from_value(json!({
                "name": name,
                "operation": "CREATE",
                "object": object,
            }))
            .expect("a request");
            let recorded = Recorded {
                user_info: answers.user_info.clone(),
                object,
                old_object: Value::Null,
                verdict: Verdict::default(),
            };
            let validate = Function::Validate(Phase::Validating);
            let response = ask(&admission, validate, &review(&request, &recorded));
            let here = response
                .denial
                .map(|denial| parity::shown(message(&denial.causes[0].message)));
            if here != Some(printed(answer)) {
                differences.push(format!("{text}\n  {answer:?}\n  {here:?}"));
            }
        }
    }
    assert!(
        differences.is_empty(),
        "{} differences\n{}",
        differences.len(),
        differences.join("\n")
    );
}

/// Returns true if a problem has a line and a column of the expression that it is about.
fn is_within(problem: &str, expression: &str) -> bool {
    let column = problem.strip_prefix("line 1, column ");
    let column = column.and_then(|rest| rest.split(':').next());
    let column = column.and_then(|column| column.parse::<usize>().ok());
    // A syntax error may be at the end.
    column.is_some_and(|column| (1..=expression.chars().count() + 1).contains(&column))
}

/// Returns an answer as a response of the host shows it.
fn printed(answer: &Answer) -> Answer {
    let printed = |text: &String| printable(text).to_string();
    match answer {
        Answer::Value(text) => Answer::Value(printed(text)),
        Answer::Error(text) => Answer::Error(printed(text)),
        Answer::Refused(text) => Answer::Refused(printed(text)),
    }
}

#[test]
fn policies_give_the_verdicts_of_the_api_server() {
    let recorded: AnsweredPolicies = Answers::read("policies");
    let mut differences = vec![];
    for file in parity::policies() {
        let imported = import(&file.objects).expect("the policies decode");
        assert!(imported.refused.is_empty(), "{:?}", imported.refused);
        let admission = admission(&imported, &file.namespaces);
        for request in &file.requests {
            let name = format!("{}/{}", file.name, request.name);
            let recorded = recorded.files.get(&file.name);
            let recorded = recorded.and_then(|requests| requests.get(&request.name));
            let recorded = recorded.unwrap_or_else(|| {
                panic!("{name}: no answer; record it with WRITE_PARITY=1 (tests/src/parity.rs)")
            });
            let review = review(request, recorded);
            let mutates = !recorded.verdict.patched.is_null();
            let theirs = &recorded.verdict;
            let ours = if mutates {
                patched(&ask(&admission, Function::Mutate, &review), request)
            } else {
                let validate = Function::Validate(Phase::Validating);
                verdict(&ask(&admission, validate, &review), theirs)
            };
            if ours != *theirs {
                differences.push(format!("{name}\n  {theirs:?}\n  {ours:?}"));
            }
        }
    }
    assert!(
        differences.is_empty(),
        "{} differences\n{}",
        differences.len(),
        differences.join("\n")
    );
}

/// Returns the verdict of a response. An API server names the first of several false validations;
/// the same one counts if it is among ours.
fn verdict(response: &AdmissionResponse, theirs: &Verdict) -> Verdict {
    let denied = response.denial.as_ref().map(|denial| {
        let messages = denial.causes.iter().map(|cause| message(&cause.message));
        let wanted = theirs.denied.as_ref().map(|denied| denied.message.as_str());
        let messages: Vec<&str> = messages.collect();
        let same = messages.iter().find(|message| Some(**message) == wanted);
        // An error has the reason of the ServicePolicy here, and Invalid there.
        let is_error = same.is_some_and(|message| message.contains("' resulted in error: "));
        if is_error && let Some(denied) = &theirs.denied {
            return denied.clone();
        }
        Denied {
            code: denial.reason.code(),
            reason: denial.reason.as_str().to_owned(),
            message: same
                .copied()
                .map_or_else(|| messages.join("\n"), str::to_owned),
        }
    });
    let mut warnings: Vec<String> = response
        .warnings
        .iter()
        .map(|line| message(line).to_owned())
        .collect();
    warnings.sort();
    let mut audited = vec![];
    let mut annotations = BTreeMap::new();
    for (key, value) in &response.audit_annotations {
        let (policy, name) = key.rsplit_once('.').expect("policy and name");
        if name == "violations" {
            audited.extend(value.lines().map(|line| message(line).to_owned()));
        } else {
            // The names of ServicePolicies begin with those of their policies.
            let theirs = theirs.annotations.keys();
            let own = theirs
                .filter_map(|key| key.split_once('/'))
                .find(|(their, key)| policy.starts_with(their) && *key == name);
            let policy = own.map_or(policy, |(policy, _)| policy);
            annotations.insert(format!("{policy}/{name}"), value.clone());
        }
    }
    audited.sort();
    Verdict {
        denied,
        warnings,
        audited,
        annotations,
        patched: Value::Null,
    }
}

fn patched(response: &AdmissionResponse, request: &Request) -> Verdict {
    let mut object = request.object.clone().unwrap_or_default();
    if let Some(patch) = &response.patch {
        let patch: json_patch::Patch = serde_json::from_str(patch).expect("a patch");
        json_patch::patch(&mut object, &patch).expect("it fits");
    }
    Verdict {
        patched: patchable(&object),
        ..Verdict::default()
    }
}

#[test]
fn the_corpus_touches_every_field_of_a_service_and_every_verdict() {
    let texts: Vec<String> = parity::expressions()
        .into_iter()
        .flat_map(|file| file.texts)
        .collect();
    let k8s = k8s_openapi_fields();
    let missing: Vec<&String> = k8s
        .iter()
        .filter(|field| !texts.iter().any(|text| mentions(text, field)))
        .collect();
    assert!(missing.is_empty(), "no expression reads {missing:?}");
    let recorded: AnsweredPolicies = Answers::read("policies");
    let verdicts: Vec<&Verdict> = recorded
        .files
        .values()
        .flat_map(|requests| requests.values().map(|recorded| &recorded.verdict))
        .collect();
    for reason in ["Forbidden", "Invalid", "RequestEntityTooLarge"] {
        let denies = |verdict: &&&Verdict| {
            verdict
                .denied
                .as_ref()
                .is_some_and(|denied| denied.reason == reason)
        };
        assert!(verdicts.iter().any(|v| denies(&v)), "no denial is {reason}");
    }
    assert!(
        verdicts
            .iter()
            .any(|verdict| **verdict == Verdict::default())
    );
    assert!(verdicts.iter().any(|verdict| !verdict.warnings.is_empty()));
    assert!(verdicts.iter().any(|verdict| !verdict.audited.is_empty()));
    assert!(
        verdicts
            .iter()
            .any(|verdict| !verdict.annotations.is_empty())
    );
    assert!(verdicts.iter().any(|verdict| !verdict.patched.is_null()));
    let requests: Vec<Request> = parity::policies()
        .into_iter()
        .flat_map(|PolicyFile { requests, .. }| requests)
        .collect();
    for operation in [Operation::Create, Operation::Update, Operation::Delete] {
        assert!(
            requests
                .iter()
                .any(|request| request.operation == operation)
        );
    }
}

fn mentions(text: &str, field: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric())
        .any(|word| word == field)
}

/// Returns the names of the fields of ServiceSpec and ServicePort, by the schema of the API.
fn k8s_openapi_fields() -> Vec<String> {
    use k8s_openapi::api::core::v1::{ServicePort, ServiceSpec};
    fn text() -> Option<String> {
        Some("x".to_owned())
    }
    let spec = ServiceSpec {
        allocate_load_balancer_node_ports: Some(true),
        cluster_ip: text(),
        cluster_ips: Some(vec![]),
        external_ips: Some(vec![]),
        external_name: text(),
        external_traffic_policy: text(),
        health_check_node_port: Some(1),
        internal_traffic_policy: text(),
        ip_families: Some(vec![]),
        ip_family_policy: text(),
        load_balancer_class: text(),
        load_balancer_ip: text(),
        load_balancer_source_ranges: Some(vec![]),
        ports: Some(vec![]),
        publish_not_ready_addresses: Some(true),
        selector: Some(BTreeMap::new()),
        session_affinity: text(),
        session_affinity_config: Some(k8s_openapi::api::core::v1::SessionAffinityConfig::default()),
        traffic_distribution: text(),
        type_: text(),
    };
    let port = ServicePort {
        app_protocol: text(),
        name: text(),
        node_port: Some(1),
        port: 1,
        protocol: text(),
        target_port: Some(k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::Int(1)),
    };
    let keys = |value: Value| -> Vec<String> {
        value
            .as_object()
            .expect("an object")
            .keys()
            .cloned()
            .collect()
    };
    let mut fields = keys(serde_json::to_value(spec).expect("JSON"));
    fields.extend(keys(serde_json::to_value(port).expect("JSON")));
    fields
}
