//! The verdict on manifests equals that on the reviews which a kube-apiserver made of them.

use super::{Case, RANGE};
use crate::host::{ENGINE, LONG_DEADLINE, VALIDATE, built, root};
use sallyport::evaluator;
use sallyport_core::admission::{Admission, AdmissionRequest, Clock};
use sallyport_core::inventory::{Inventory, InventoryData};
use sallyport_core::manifest::{Exemptions, ServicePolicy};
use sallyport_core::policy::Deadline;
use sallyport_core::yaml;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::SystemTime;

/// Returns the recorded creates before the API server allocated anything, each with the review
/// after the allocation.
fn recorded() -> Vec<(Value, Value)> {
    let directory = root().join("tests/admission-reviews");
    let files = std::fs::read_dir(&directory)
        .expect("readable")
        .map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = files
        .filter(|file| file.extension().is_some_and(|end| end == "json"))
        .collect();
    files.sort();
    let read = |file: &std::path::PathBuf| -> Value {
        serde_json::from_str(&std::fs::read_to_string(file).expect("readable")).expect("JSON")
    };
    let reviews: Vec<Value> = files.iter().map(read).collect();
    let is_create = |review: &Value| {
        review["request"]["operation"] == "CREATE" && review["request"]["dryRun"] == false
    };
    let pairs = files
        .windows(2)
        .zip(reviews.windows(2))
        .filter(|(files, reviews)| {
            let is = |index: usize, word: &str| files[index].to_string_lossy().contains(word);
            is(0, "-mutate-") && is(1, "-validate-") && reviews.iter().all(is_create)
        });
    let pairs = pairs.map(|(_, reviews)| {
        let mut manifest = reviews[0]["request"]["object"].clone();
        let metadata = manifest["metadata"].as_object_mut().expect("metadata");
        metadata.remove("managedFields");
        metadata.insert(
            "namespace".to_owned(),
            reviews[0]["request"]["namespace"].clone(),
        );
        (manifest, reviews[1].clone())
    });
    pairs.collect()
}

/// Policy, rule and field of a violation.
type ViolationRow = (String, String, String);

/// Returns the violations of a review, as a webhook would.
fn violations(admission: &Admission, review: &Value) -> BTreeSet<ViolationRow> {
    let body = review.to_string().into_bytes();
    let request = AdmissionRequest::parse(&body).expect("a review");
    let clock = Clock {
        now: SystemTime::now(),
        deadline: Deadline::Each(LONG_DEADLINE),
    };
    let evaluations = admission
        .review(VALIDATE, &request, clock)
        .evaluations
        .into_iter();
    let of = |policy: &str, rule: String, field: String| (policy.to_owned(), rule, field);
    let found = evaluations.flat_map(|evaluation| {
        let policy = evaluation.policy;
        evaluation
            .violations
            .into_iter()
            .map(move |violation| of(&policy, violation.rule, violation.field))
    });
    found.collect()
}

impl Case {
    /// Returns an Admission of the same policies in this process.
    fn admission(&self) -> Admission {
        let files = std::fs::read_dir(self.files.path().join("policies")).expect("readable");
        let policies = files.map(|file| {
            let text = std::fs::read_to_string(file.expect("an entry").path()).expect("readable");
            let manifest = ServicePolicy::from_value(&yaml::documents(&text).expect("YAML")[0])
                .expect("valid");
            let component = built(&format!("policies/{}", manifest.spec.module));
            evaluator::load(&ENGINE, manifest, &component).expect("a sound policy")
        });
        Admission::new(
            policies.collect(),
            Inventory::from(InventoryData::default()),
            Exemptions::default(),
        )
    }
}

#[test]
fn the_verdict_equals_that_of_recorded_reviews() {
    let recorded = recorded();
    assert!(recorded.len() >= 18, "{} recorded CREATEs", recorded.len());
    let manifests: Vec<_> = recorded
        .iter()
        .map(|(manifest, _)| manifest.clone())
        .collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": manifests}).to_string();
    let config = "apiVersion: sallyport.dev/v1alpha1\nkind: HostConfig\nspec: { exemptions: { \
        namespaces: [] } }";
    let mut uncertain = 0;
    for range in [
        "{ autoAssigned: deny }",
        "{ ranges: [{ from: 30100, to: 30199 }] }",
        "{}",
    ] {
        let case = Case::policy(RANGE, &format!("  settings: {range}"))
            .and(
                "loadbalancer-exposure",
                "  settings: { requireInternal: true, nodePorts: deny }",
            )
            .and("external-ips", "")
            .and("external-name", "")
            .and("selectorless", "")
            .and(
                "service-type",
                "  settings: { allowedTypes: [ClusterIP, LoadBalancer, ExternalName] }",
            )
            .file("all.json", &list)
            .file("host.yaml", config);
        let admission = case.admission();
        let (report, _) = case.report(&["all.json", "--config", "host.yaml"]);
        let subjects = report["subjects"].as_array().expect("a list");
        assert_eq!(subjects.len(), recorded.len());
        for (subject, (_, review)) in subjects.iter().zip(&recorded) {
            let text =
                |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
            let at = |level: &'static str| {
                let findings = subject["findings"].as_array().expect("a list").iter();
                let findings = findings.filter(move |finding| finding["level"] == level);
                findings.map(|finding| {
                    (
                        text(finding, "policy"),
                        text(finding, "rule"),
                        text(finding, "field"),
                    )
                })
            };
            let in_cluster = violations(&admission, review);
            let certain: BTreeSet<_> = at("error").collect();
            let possible: BTreeSet<_> = at("warning").collect();
            uncertain += possible.len();
            assert!(
                certain.is_subset(&in_cluster),
                "{range}: {certain:?} is not in {in_cluster:?} of {review:#}"
            );
            let missed: Vec<_> = in_cluster
                .difference(&certain)
                .filter(|found| !possible.contains(found))
                .collect();
            // Allocated ports are irrelevant where no node port is allowed.
            let is_moot = |found: &&&ViolationRow| found.0 == RANGE && !certain.is_empty();
            assert!(
                missed.iter().all(|found| is_moot(&found)),
                "{range}: {missed:?} of {review:#}"
            );
        }
    }
    assert!(uncertain > 0, "some allocation could be refused");
}
