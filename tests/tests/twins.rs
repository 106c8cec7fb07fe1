//! The twins of a policy in each language give the same answers, byte for byte: to every captured
//! review, and under settings that deny, patch and warn.
//!
//! `scripts/twins.sh` builds them into `target/twins`, and runs this with `--ignored`. Rust's
//! answers are the expected ones.

use sallyport::engine::{Engine, EngineConfig};
use sallyport::evaluator;
use sallyport_core::admission::{Admission, AdmissionRequest, Clock, Function};
use sallyport_core::contract::review::Phase;
use sallyport_core::inventory::Inventory;
use sallyport_core::manifest::{Exemptions, ServicePolicy};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Returns the policies with the settings that they are asked under.
fn settings(policy: &str) -> Vec<Value> {
    match policy {
        "service-type" => vec![
            json!({}),
            json!({"allowedTypes": ["ClusterIP"]}),
            json!({"allowedTypes": ["LoadBalancer"], "perNamespace": {"cap": ["NodePort"]}}),
        ],
        _ => vec![
            json!({}),
            json!({"owners": {"cap": "team \"é\"\n"}, "types": ["NodePort", "LoadBalancer"]}),
            json!({"label": "app.kubernetes.io/name", "maxLength": 1}),
        ],
    }
}

/// Returns the names and bodies of the captured reviews.
fn reviews() -> Vec<(String, Vec<u8>)> {
    let directory = root().join("tests/admission-reviews");
    let entries = std::fs::read_dir(directory).expect("captured reviews");
    let mut reviews: Vec<_> = entries
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
        .map(|path| {
            let name = path
                .file_stem()
                .expect("a file")
                .to_string_lossy()
                .into_owned();
            (name, std::fs::read(&path).expect("it can be read"))
        })
        .collect();
    reviews.sort();
    assert!(reviews.len() > 50, "{}", reviews.len());
    reviews
}

/// Returns the answer to each review under each settings, as the API server gets them.
fn answers(engine: &Arc<Engine>, language: &str, policy: &str) -> Vec<(String, Vec<u8>)> {
    let directory = root().join("target/twins").join(language);
    let component = directory.join(format!("{}.wasm", policy.replace('-', "_")));
    let component = std::fs::read(&component)
        .unwrap_or_else(|error| panic!("{}: {error}", component.display()));
    let text = std::fs::read_to_string(directory.join(format!("{policy}.yaml")));
    let documents = sallyport_core::yaml::documents(&text.expect("a manifest")).expect("YAML");
    let reviews = reviews();
    let mut answers = vec![];
    for settings in settings(policy) {
        let mut manifest = documents.first().expect("a manifest").clone();
        manifest["spec"]["settings"] = settings.clone();
        let manifest = ServicePolicy::from_value(&manifest).expect("a ServicePolicy");
        let loaded = evaluator::load(engine, manifest, &component)
            .unwrap_or_else(|error| panic!("{language}, {policy}, {settings}: {error}"));
        let admission =
            Admission::new(vec![loaded], Inventory::default(), Exemptions::default()).thorough();
        for (name, body) in &reviews {
            let request = AdmissionRequest::parse(body).expect("a captured review");
            for function in [
                Function::Validate(Phase::Validating),
                Function::Validate(Phase::Mutating),
                Function::Mutate,
            ] {
                let clock = Clock {
                    now: SystemTime::UNIX_EPOCH,
                    deadline: (Instant::now() + Duration::from_secs(30)).into(),
                };
                let outcome = admission.review(function, &request, clock);
                let asked = format!("{policy}, {settings}, {name}, {function:?}");
                answers.push((asked, outcome.response.to_json()));
            }
        }
    }
    answers
}

#[test]
#[ignore = "needs the components that scripts/twins.sh builds, and is run by it"]
fn all_languages_give_the_answers_of_rust() {
    let config = EngineConfig {
        cache: Some(sallyport_tests::compiled()),
        ..EngineConfig::default()
    };
    let engine = Arc::new(Engine::new(&config).expect("an engine"));
    let languages = std::env::var("SALLYPORT_TWINS").expect("scripts/twins.sh sets it");
    for policy in ["service-type", "owner-label"] {
        let expected = answers(&engine, "rust", policy);
        let denied = expected
            .iter()
            .filter(|(_, answer)| String::from_utf8_lossy(answer).contains("\"allowed\":false"));
        let patched = expected
            .iter()
            .filter(|(_, answer)| String::from_utf8_lossy(answer).contains("\"patch\""));
        assert!(denied.count() > 20, "{policy}: hardly anything is denied");
        assert!(
            policy == "service-type" || patched.count() > 0,
            "{policy}: nothing is patched"
        );
        for language in languages.split(' ').filter(|language| *language != "rust") {
            let found = answers(&engine, language, policy);
            assert_eq!(found.len(), expected.len(), "{language}");
            for ((asked, expected), (_, found)) in expected.iter().zip(&found) {
                assert_eq!(
                    String::from_utf8_lossy(found),
                    String::from_utf8_lossy(expected),
                    "{language}: {asked}"
                );
            }
        }
    }
}
