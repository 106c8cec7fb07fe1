//! Harness and webhook agree: every case of `fixtures/` gets the same bytes from both.
//!
//! The harness configures each instance, and a host snapshots its policies. Compiling a snapshot of
//! each settings value of the fixtures takes a minute of processor time, so every eighth is, and
//! all of them if SALLYPORT_EVERY_SNAPSHOT is set, as `make release-check` does.

use crate::client::{Protocol, Reply};
use crate::host::{ENGINE, ENGINE_OF_SUITES, Host, LONG_DEADLINE, root};
use sallyport::engine::Engine;
use sallyport::evaluator;
use sallyport::suites::{self, ModuleSearch};
use sallyport_core::admission::{Admission, AdmissionRequest, Clock, Function};
use sallyport_core::contract::review::Phase;
use sallyport_core::inventory::Inventory;
use sallyport_core::policy::{Deadline, Policy};
use sallyport_core::suite::{Case, Setup, Source};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

/// The hosts with snapshots: one of so many.
const SNAPSHOTS: usize = 8;

/// A case with its suite's name, for messages.
pub(crate) type Named = (String, Case);

/// Returns the cases of all fixtures, by setup, that an API server could send. It can't ask
/// `validate` in the mutating phase, and bad settings are no review.
pub(crate) fn cases() -> BTreeMap<String, Vec<Named>> {
    let (files, errors) = suites::find(&[root().join("tests/fixtures")]);
    assert!(errors.is_empty(), "no fixture cases found: {errors:?}");
    // The directory that `make policies` fills.
    let search = ModuleSearch {
        directory: Some(root().join("target/policies")),
    };
    let mut cases = BTreeMap::<String, Vec<Named>>::new();
    for file in files {
        let suite = suites::read(&file, &search).unwrap_or_else(|error| panic!("{error}"));
        for case in suite.cases {
            let asked = case.function != Function::Validate(Phase::Mutating)
                && case.expect.settings_error.is_none();
            if asked {
                let name = format!("{}/{}", suite.name, case.name);
                cases
                    .entry(case.setup.fingerprint())
                    .or_default()
                    .push((name, case));
            }
        }
    }
    assert!(!cases.is_empty(), "no fixture cases found");
    cases
}

pub(crate) fn admission(engine: &Arc<Engine>, setup: &Setup) -> Arc<Admission> {
    let load = |source: &Source| {
        let file = source.component.as_ref().expect("components are files");
        let component = std::fs::read(file)
            .unwrap_or_else(|error| panic!("{}: {error}; run `make policies`", file.display()));
        evaluator::load(engine, source.manifest.clone(), &component)
            .unwrap_or_else(|error| Policy::broken(source.manifest.clone(), error))
    };
    let policies = setup.policies.iter().map(load).collect();
    Arc::new(Admission::new(
        policies,
        Inventory::from(setup.inventory.clone()),
        setup.exemptions.clone(),
    ))
}

/// Returns the harness' answer: a review, or the message of a refusal.
fn harness(admission: &Admission, case: &Case, body: &[u8]) -> (u16, Vec<u8>) {
    match AdmissionRequest::parse(body) {
        Err(error) => (400, format!("{error}\n").into_bytes()),
        Ok(request) => {
            // The webhook uses the real clock, whatever the case says.
            let clock = Clock {
                now: SystemTime::now(),
                deadline: Deadline::Each(LONG_DEADLINE),
            };
            (
                200,
                admission
                    .review(case.function, &request, clock)
                    .response
                    .to_json(),
            )
        }
    }
}

#[tokio::test]
async fn harness_and_webhook_answer_every_fixture_alike() {
    let snapshots = match std::env::var_os("SALLYPORT_EVERY_SNAPSHOT") {
        Some(_) => 1,
        None => SNAPSHOTS,
    };
    let mut compared = 0;
    for (number, cases) in cases().into_values().enumerate() {
        let setup = &cases[0].1.setup;
        let of_suite = admission(&ENGINE_OF_SUITES, setup);
        let of_host = match number % snapshots {
            0 => admission(&ENGINE, setup),
            _ => Arc::clone(&of_suite),
        };
        let host = Host::start(&of_host).await;
        let mut connections = [
            host.client.connect(Protocol::Http1).await,
            host.client.connect(Protocol::Http2).await,
        ];
        for (name, case) in cases {
            let body = case.review_body();
            let expected = harness(&of_suite, &case, &body);
            let path = if case.function == Function::Mutate {
                "/mutate"
            } else {
                "/validate"
            };
            for connection in &mut connections {
                let Reply { status, body, .. } = connection.post(path, body.clone()).await;
                let (expected, found) = (
                    (expected.0, text(&expected.1)),
                    (status.as_u16(), text(&body)),
                );
                assert_eq!(found, expected, "{name}");
            }
            compared += 1;
        }
    }
    println!("{compared} cases");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
