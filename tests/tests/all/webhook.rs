//! The bodies of a real API server (`admission-reviews/`), answered over TLS by the shipped
//! policies.

use crate::client::{PROTOCOLS, Reply};
use crate::host::{Host, SHIPPED};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// The denials on a cluster that is no cloud, with their rules: Services that become a
/// LoadBalancer. Everything else is allowed, updates of existing load balancers too.
const DENIED: [(&str, &str); 11] = [
    ("020-validate-CREATE-services-loadbalancer.json", "S03"),
    ("022-validate-CREATE-services-lb-noports.json", "S03"),
    ("024-validate-CREATE-services-lb-srcranges.json", "S03"),
    ("028-validate-CREATE-services-externalips.json", "S08"),
    ("030-validate-CREATE-services-dryrun-dry-lb.json", "S03"),
    ("042-validate-CREATE-services-denied.json", "S03"),
    ("048-validate-UPDATE-services-clusterip.json", "S03"),
    ("054-validate-UPDATE-services-dryrun-nodeport.json", "S03"),
    ("064-validate-UPDATE-services-ssa.json", "S03"),
    ("112-validate-CREATE-services-lb1.json", "S03"),
    ("116-validate-CREATE-services-bybot.json", "S03"),
];

/// The patches: none, since a live API server sets every default before it calls, and the shipped
/// settings default nothing else.
const PATCHED: [(&str, &str); 0] = [];

/// One recorded call.
struct Recorded {
    file: String,
    path: String,
    body: Vec<u8>,
}

impl Recorded {
    /// Returns every recorded call. The index file has its path and timeout.
    fn all() -> Vec<Self> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("admission-reviews");
        let index = std::fs::read_to_string(directory.join("index.jsonl"))
            .expect("the index is in the repository");
        let mut paths = BTreeMap::new();
        for line in index.lines() {
            let line: Value = serde_json::from_str(line).expect("a line of JSON");
            let text = |key: &str| line[key].as_str().expect("a string").to_owned();
            paths.insert(text("file"), text("path"));
        }
        let files = std::fs::read_dir(&directory)
            .expect("a directory")
            .map(|entry| entry.expect("readable").path());
        let mut bodies: Vec<_> = files
            .filter(|file| file.extension().is_some_and(|end| end == "json"))
            .collect();
        bodies.sort();
        assert!(bodies.len() > 100, "the recorded bodies are missing");
        let recorded = |body: std::path::PathBuf| {
            let file = body
                .file_name()
                .expect("a file")
                .to_string_lossy()
                .into_owned();
            let path = paths
                .get(&file)
                .unwrap_or_else(|| panic!("{file} is not in the index"))
                .clone();
            Self {
                file,
                path,
                body: std::fs::read(&body).expect("readable"),
            }
        };
        bodies.into_iter().map(recorded).collect()
    }

    fn uid(&self) -> Value {
        let review: Value = serde_json::from_slice(&self.body).expect("JSON");
        review["request"]["uid"].clone()
    }
}

async fn answers() -> Vec<(Recorded, [Reply; 2])> {
    let host = Host::start(&SHIPPED).await;
    let mut connections = [
        host.client.connect(PROTOCOLS[0]).await,
        host.client.connect(PROTOCOLS[1]).await,
    ];
    let mut answers = vec![];
    for recorded in Recorded::all() {
        let [one, two] = &mut connections;
        let replies = [
            one.post(&recorded.path, recorded.body.clone()).await,
            two.post(&recorded.path, recorded.body.clone()).await,
        ];
        answers.push((recorded, replies));
    }
    answers
}

#[tokio::test]
async fn every_recorded_body_is_answered_with_its_uid() {
    for (recorded, [reply, _]) in answers().await {
        assert_eq!(
            reply.status,
            StatusCode::OK,
            "{}: {}",
            recorded.file,
            reply.text()
        );
        assert_eq!(reply.content_type, "application/json", "{}", recorded.file);
        let review = reply.json();
        assert_eq!(
            review["apiVersion"], "admission.k8s.io/v1",
            "{}",
            recorded.file
        );
        assert_eq!(review["kind"], "AdmissionReview", "{}", recorded.file);
        assert_eq!(
            review["response"]["uid"],
            recorded.uid(),
            "{}",
            recorded.file
        );
    }
}

#[tokio::test]
async fn both_protocols_answer_with_the_same_bytes() {
    for (recorded, [http1, http2]) in answers().await {
        assert_eq!(http1, http2, "{}", recorded.file);
    }
}

#[tokio::test]
async fn exactly_what_the_rules_forbid_is_denied() {
    let mut denied = vec![];
    for (recorded, [reply, _]) in answers().await {
        let response = &reply.json()["response"];
        if response["allowed"] == false {
            let causes = response["status"]["details"]["causes"]
                .as_array()
                .expect("causes")
                .clone();
            let rules: Vec<_> = causes
                .iter()
                .map(|cause| cause["reason"].as_str().expect("a rule"))
                .collect();
            denied.push((recorded.file, rules.join(" ")));
        } else {
            assert_eq!(response["status"], Value::Null, "{}", recorded.file);
        }
    }
    let expected = DENIED.map(|(file, rules)| (file.to_owned(), rules.to_owned()));
    assert_eq!(denied, expected);
}

#[tokio::test]
async fn a_denial_says_the_same_to_people_and_to_programs() {
    for (recorded, [reply, _]) in answers().await {
        let status = &reply.json()["response"]["status"];
        if status.is_null() {
            continue;
        }
        let file = &recorded.file;
        assert_eq!(status["status"], "Failure", "{file}");
        assert_eq!(status["reason"], "Forbidden", "{file}");
        assert_eq!(status["code"], 403, "{file}");
        let causes = status["details"]["causes"].as_array().expect("causes");
        let lines: Vec<_> = causes
            .iter()
            .map(|cause| cause["message"].as_str().expect("a message"))
            .collect();
        assert_eq!(status["message"], lines.join("\n"), "{file}");
        for cause in causes {
            assert!(
                cause["field"]
                    .as_str()
                    .is_some_and(|field| field.starts_with("spec.")),
                "{file}: {cause}"
            );
        }
    }
}

#[tokio::test]
async fn only_mutate_patches_and_only_what_the_rules_default() {
    let mut patched = vec![];
    for (recorded, [reply, _]) in answers().await {
        let response = &reply.json()["response"];
        let Some(patch) = response["patch"].as_str() else {
            assert_eq!(response["patchType"], Value::Null, "{}", recorded.file);
            continue;
        };
        assert_eq!(response["patchType"], "JSONPatch", "{}", recorded.file);
        assert!(recorded.path.starts_with("/mutate"), "{}", recorded.file);
        let patch = String::from_utf8(STANDARD.decode(patch).expect("base64")).expect("UTF-8");
        patched.push((recorded.file, patch));
    }
    let expected = PATCHED.map(|(file, patch)| (file.to_owned(), patch.to_owned()));
    assert_eq!(patched, expected);
}

#[tokio::test]
async fn what_ends_or_only_uses_a_service_is_always_allowed() {
    for (recorded, [reply, _]) in answers().await {
        if recorded.file.contains("-DELETE-") || recorded.file.contains("-CONNECT-") {
            assert_eq!(
                reply.json()["response"]["allowed"],
                true,
                "{}",
                recorded.file
            );
        }
    }
}
