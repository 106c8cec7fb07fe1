//! One Service, judged as the cluster would: defaulted, mutated, completed by what the API server
//! allocates, validated.
//!
//! If the API server's choice matters, several choices are judged, and `worlds` tells which
//! findings are certain.

use super::allocation::{Allocation, Choice};
use super::findings::{exempt_policies, in_deletion, whole};
use super::owned;
use super::request::{Key, Request, key, name};
use super::reviewer::Reviewer;
use super::worlds::{World, certain_and_possible, is_error, uncertain};
use crate::admission::{Admission, AdmissionRequest, Function, Outcome};
use crate::api_server::defaults;
use crate::contract::review::{Phase, PortRange};
use crate::inventory::NAME_LABEL;
use crate::policy::Policy;
use crate::report::check::{Finding, Level, Subject};
use crate::suite::{Asked, User};
use crate::yaml::Located;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The Services that others replace, with the API server's defaults.
pub(super) type OldServices = BTreeMap<Key, Arc<Value>>;

/// Judges Services that are about to be created or, where there is an old one, updated.
pub(super) struct Judge<'a> {
    pub(super) reviewer: Reviewer<'a>,
    /// The namespace of Services that name none.
    pub(super) namespace: &'a str,
    /// The user who applies them.
    pub(super) user: User,
    /// The Services that they replace, with the API server's defaults.
    pub(super) old: OldServices,
    /// Namespaces whose unknown labels were reported already.
    pub(super) unknown: BTreeSet<String>,
}

/// A Service that was judged.
pub(super) struct Judged {
    pub(super) subject: Subject,
    /// With the API server's defaults.
    pub(super) service: Value,
    /// As the patches of `/mutate` leave it; `None` where they change nothing.
    pub(super) patched: Option<Value>,
    /// The Service that it replaces.
    pub(super) old: Option<Arc<Value>>,
}

impl Judge<'_> {
    fn admission(&self) -> &Admission {
        self.reviewer.admission
    }

    /// Judges one Service.
    pub(super) fn judge(&mut self, source: &str, located: &Located) -> Judged {
        let mut service = located.value();
        let key = key(&service, self.namespace);
        let (namespace, shown) = key.clone();
        let mut subject = Subject {
            source: source.to_owned(),
            line: located.line(),
            service: Some(format!(
                "{namespace}/{}",
                if shown.is_empty() {
                    "(unnamed)"
                } else {
                    &shown
                }
            )),
            policies: BTreeSet::new(),
            findings: vec![],
            patch: vec![],
        };
        defaults::apply(&mut service);
        let name = name(&service);
        let old = self.old(&namespace, &name);
        let unpatched = |subject, service, old| Judged {
            subject,
            service,
            patched: None,
            old,
        };
        if let (None, Some(since)) = (
            &old,
            service
                .pointer("/metadata/deletionTimestamp")
                .filter(|time| !time.is_null()),
        ) {
            subject.findings.push(in_deletion(since, &lines(located)));
            return unpatched(subject, service, old);
        }
        let request = Request {
            namespace,
            name,
            service: service.clone(),
            old: old.clone(),
            sub_resource: None,
            located,
        };
        let mut patched = None;
        match self.review(request, &mut subject, &mut patched) {
            Err(problem) => subject
                .findings
                .push(Finding::unjudged("", problem, located.line())),
            Ok(()) => {
                let unknown = self.unknown_labels(&key.0, &subject, located);
                subject.findings.extend(unknown);
            }
        }
        Judged {
            patched,
            ..unpatched(subject, service, old)
        }
    }

    /// Returns the stored Service of this name. One whose name is generated is always new.
    pub(super) fn old(&self, namespace: &str, name: &str) -> Option<Arc<Value>> {
        let key = (namespace.to_owned(), name.to_owned());
        self.old
            .get(&key)
            .filter(|_| !name.is_empty())
            .map(Arc::clone)
    }

    fn review(
        &self,
        mut request: Request<'_>,
        subject: &mut Subject,
        patched: &mut Option<Value>,
    ) -> Result<(), String> {
        let status = request.service["status"].clone();
        owned::write(&mut request.service, request.old.as_deref());
        let mutated = self.ask(Function::Mutate, &request, &request.service)?;
        if let Some(patch) = &mutated.response.patch {
            subject.patch = serde_json::from_str(patch).map_err(|error| error.to_string())?;
            let patch: json_patch::Patch =
                serde_json::from_str(patch).map_err(|error| error.to_string())?;
            json_patch::patch(&mut request.service, &patch).map_err(|error| error.to_string())?;
            defaults::apply(&mut request.service);
            *patched = Some(request.service.clone());
        }
        subject.policies.extend(
            mutated
                .evaluations
                .iter()
                .map(|evaluation| evaluation.policy.to_string()),
        );
        for evaluation in &mutated.evaluations {
            let line = lines(request.located);
            subject
                .findings
                .extend(self.reviewer.of_evaluation(evaluation, &line));
        }
        // Clients write the status by a request of its own.
        let old_status = request
            .old
            .as_ref()
            .map_or_else(|| json!({"loadBalancer": {}}), |old| old["status"].clone());
        set(&mut request.service, "status", old_status.clone());
        self.validate(&request, subject)?;
        let is_new = |status: &&Value| !status.is_null() && **status != old_status;
        if let (Some(old), Some(status)) = (request.old.clone(), Some(&status).filter(is_new)) {
            let mut service = Value::clone(&old);
            set(&mut service, "status", status.clone());
            self.validate(
                &Request {
                    service,
                    sub_resource: Some("status"),
                    ..request
                },
                subject,
            )?;
        }
        Ok(())
    }

    /// Reviews every object that the API server may make of the Service, and separates the findings
    /// that are certain from those that are not.
    fn validate(&self, request: &Request<'_>, subject: &mut Subject) -> Result<(), String> {
        let range = self.admission().inventory().view().cluster().node_ports;
        let (left, _) = request.complete(Choice::first(range), range);
        let of_old = request
            .old
            .as_deref()
            .map(Allocation::of)
            .unwrap_or_default();
        let wider = if of_old.has_ports() {
            of_old.with_families_of(&left)
        } else {
            left.with_families_of(&of_old)
        };
        let settings = self
            .admission()
            .policies()
            .iter()
            .filter_map(|policy| policy.settings());
        let mut worlds = vec![];
        for choice in wider.choices(range, settings) {
            let (_, completed) = request.complete(choice, range);
            let outcome = self.ask(
                Function::Validate(Phase::Validating),
                &completed,
                &completed.service,
            )?;
            subject.policies.extend(
                outcome
                    .evaluations
                    .iter()
                    .map(|evaluation| evaluation.policy.to_string()),
            );
            subject
                .findings
                .extend(exempt_policies(&outcome, &lines(request.located)));
            if let Some(whole) = whole(&outcome, &lines(request.located)) {
                subject.findings.push(whole);
                return Ok(());
            }
            let world = self.world(&outcome, request.located);
            if world
                .findings
                .iter()
                .any(|finding| finding.level == Level::Unjudged)
            {
                subject.findings.extend(world.findings);
                return Ok(());
            }
            worlds.push(world);
            if outcome.evaluations.is_empty() {
                break;
            }
        }
        let (certain, mut possible) = certain_and_possible(&worlds);
        let chosen = Allocation::of(&request.service).fields();
        let is_chosen = |finding: &Finding| chosen.contains(&finding.field);
        if possible.iter().any(is_chosen) && self.forbids_node_ports(request, &certain)? {
            possible.retain(|finding| !is_chosen(finding));
        }
        if request.depends_on_families() && certain.iter().any(is_error) {
            let note = self.single_stack(request, &certain, range)?;
            subject.findings.extend(note);
        }
        let is_denied = worlds.iter().all(|world| world.is_denied);
        let is_certain = certain.iter().any(is_error);
        subject.findings.extend(certain);
        subject.findings.extend(uncertain(
            possible,
            &chosen,
            range,
            is_denied && !is_certain,
        ));
        Ok(())
    }

    /// Returns a note if a cluster with one family would not deny the update: offline, nobody knows
    /// which the cluster has.
    fn single_stack(
        &self,
        request: &Request<'_>,
        certain: &[Finding],
        range: PortRange,
    ) -> Result<Option<Finding>, String> {
        let (_, completed) = request.complete(Choice::first(range).single_stack(), range);
        let function = Function::Validate(Phase::Validating);
        let outcome = self.ask(function, &completed, &completed.service)?;
        let world = self.world(&outcome, request.located);
        let errors = |findings: &[Finding]| findings.iter().filter(|it| is_error(it)).count();
        let field = "spec.ipFamilyPolicy";
        Ok(
            (errors(&world.findings) < errors(certain)).then(|| Finding {
                rule: "dual-stack".to_owned(),
                field: field.to_owned(),
                message:
                    "the cluster is taken for a dual-stack one, where this update adds a second \
                      family; in a cluster with one family it adds none, and less is denied"
                        .to_owned(),
                line: request.located.line_of(field),
                ..Finding::empty(Level::Note)
            }),
        )
    }

    /// Returns true if the Service is denied because it opens node ports at all, whichever these
    /// are: without them, some certain denial is gone.
    fn forbids_node_ports(
        &self,
        request: &Request<'_>,
        certain: &[Finding],
    ) -> Result<bool, String> {
        let mut service = request.service.clone();
        if service["spec"]["type"] == "LoadBalancer" {
            service["spec"]["allocateLoadBalancerNodePorts"] = false.into();
        } else {
            service["spec"]["type"] = "ClusterIP".into();
        }
        let outcome = self.ask(Function::Validate(Phase::Validating), request, &service)?;
        let without = self.world(&outcome, request.located).findings;
        let stays = |finding: &Finding| {
            without
                .iter()
                .any(|other| (&other.policy, &other.rule) == (&finding.policy, &finding.rule))
        };
        Ok(certain
            .iter()
            .any(|finding| finding.level == Level::Error && !stays(finding)))
    }

    pub(super) fn ask(
        &self,
        function: Function,
        request: &Request<'_>,
        service: &Value,
    ) -> Result<Outcome, String> {
        let asked = Asked {
            kind: (String::new(), "v1".to_owned(), "Service".to_owned()),
            operation: if request.old.is_some() {
                "UPDATE"
            } else {
                "CREATE"
            },
            sub_resource: request.sub_resource.map(str::to_owned),
            name: request.name.clone(),
            namespace: request.namespace.clone(),
            user: self.user.clone(),
            dry_run: false,
            object: None,
            old_object: request.old.as_deref().cloned(),
        };
        let body = asked.body(&service.to_string());
        let request = AdmissionRequest::parse(&body).map_err(|error| error.to_string())?;
        Ok(self.reviewer.review(function, &request))
    }

    fn world(&self, outcome: &Outcome, located: &Located) -> World {
        World {
            findings: self.reviewer.findings(outcome, &lines(located)),
            is_denied: !outcome.response.allowed,
        }
    }

    /// Reports, once for each namespace, the policies that select by labels which are not known.
    fn unknown_labels(
        &mut self,
        namespace: &str,
        subject: &Subject,
        located: &Located,
    ) -> Option<Finding> {
        if self.unknown.contains(namespace)
            || self
                .admission()
                .inventory()
                .view()
                .namespace_labels(namespace)
                .is_some()
        {
            return None;
        }
        let needs = |policy: &&Arc<Policy>| policy.needs_namespace() || selects_by_labels(policy);
        let policies = subject
            .policies
            .iter()
            .filter_map(|name| self.reviewer.policy(name))
            .filter(needs);
        let names: Vec<_> = policies.map(|policy| policy.name().to_string()).collect();
        if names.is_empty() {
            return None;
        }
        self.unknown.insert(namespace.to_owned());
        let (names, go) = (
            names.join(", "),
            if names.len() == 1 { "goes" } else { "go" },
        );
        let field = "metadata.namespace";
        Some(Finding {
            rule: "namespace-labels".to_owned(),
            field: field.to_owned(),
            message: format!(
                "the labels of namespace {namespace} are not known, and {names} {go} by them"
            ),
            fix: "add the Namespace to the manifests, or to spec.inventory.namespaces of --config"
                .to_owned(),
            line: located.line_of(field),
            ..Finding::empty(Level::Warning)
        })
    }
}

/// Returns true if the policy's manifest selects namespaces by labels other than the name.
fn selects_by_labels(policy: &Policy) -> bool {
    let (selector, _) = policy.manifest().spec.r#match.written();
    let Some(selector) = selector else {
        return false;
    };
    let keys = selector.match_labels.iter().flatten().map(|(key, _)| key);
    let more = selector
        .match_expressions
        .iter()
        .flatten()
        .map(|requirement| &requirement.key);
    keys.chain(more).any(|key| key != NAME_LABEL)
}

/// Returns the line of each field of a manifest.
fn lines(located: &Located) -> impl Fn(&str) -> usize {
    |field| located.line_of(field)
}

fn set(service: &mut Value, key: &str, value: Value) {
    if let Some(service) = service.as_object_mut() {
        if value.is_null() {
            service.remove(key)
        } else {
            service.insert(key.to_owned(), value)
        };
    }
}
