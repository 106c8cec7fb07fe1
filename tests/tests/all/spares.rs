//! Instances that are made and given back after the answer: each is asked once all the same, and
//! nobody goes without.

use crate::client::PROTOCOLS;
use crate::host::{
    Host, PATIENCE, VALIDATE, ask, load, manifest, misbehave, misbehave_unsnapshotable,
    misbehaving, told,
};
use sallyport::admission::{Admission, AdmissionRequest, Clock, Outcome};
use sallyport::engine::{Engine, EngineConfig};
use sallyport::evaluator;
use sallyport::evaluator::{Used, deferring};
use sallyport::inventory::{Inventory, InventoryData};
use sallyport::manifest::Exemptions;
use sallyport::policy::Deadline;
use sallyport::server::Limits;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// A host whose guest has time on a busy machine.
fn patient() -> Arc<Admission> {
    misbehaving(&json!({"limits": {"deadline": "2s", "memory": "4Mi"}}))
}

/// The word for why the policy has no opinion.
fn error(outcome: &Outcome) -> Option<&'static str> {
    outcome.evaluations[0]
        .error
        .as_ref()
        .map(|error| error.kind())
}

/// Asks as the server does, which clears up later.
fn ask_first(host: &Admission, body: &[u8]) -> (Outcome, Used) {
    let request = AdmissionRequest::parse(body).expect("the test sends an AdmissionReview");
    let clock = Clock {
        now: SystemTime::now(),
        deadline: Deadline::Each(PATIENCE),
    };
    deferring(|| host.review(VALIDATE, &request, clock))
}

#[test]
fn no_state_survives_where_the_next_instance_is_made_ahead() {
    let limits = json!({"limits": {"deadline": "2s"}});
    for guest in [misbehave(), misbehave_unsnapshotable()] {
        let policy = load(&guest, &limits).expect("the guest can be loaded");
        let host = Admission::new(
            vec![policy],
            Inventory::from(InventoryData::default()),
            Exemptions::default(),
        );
        for _ in 0..5 {
            let (outcome, used) = ask_first(&host, &told("nothing"));
            assert_eq!(
                outcome.response.warnings,
                ["[misbehave] call 1 of this instance"]
            );
            assert!(!used.is_empty());
            used.renew();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn no_state_survives_in_a_server_and_every_turn_is_given_on() {
    let host = Host::with(
        &patient(),
        Limits {
            evaluations: 2,
            ..Limits::default()
        },
    )
    .await;
    let ask = |protocol| {
        let client = host.client.clone();
        tokio::spawn(async move {
            let mut connection = client.connect(protocol).await;
            for _ in 0..25 {
                let review = connection.post("/validate", told("nothing")).await.json();
                assert_eq!(
                    review["response"]["warnings"],
                    json!(["[misbehave] call 1 of this instance"])
                );
            }
        })
    };
    let asking: Vec<_> = PROTOCOLS.into_iter().cycle().take(8).map(ask).collect();
    for asked in asking {
        asked.await.expect("every answer is as expected");
    }
}

#[test]
fn an_instance_that_was_made_ahead_has_all_the_time_of_its_review() {
    let host = misbehaving(&json!({"limits": {"deadline": "200ms"}}));
    for (word, expected) in [
        ("nothing", None),
        ("loop", Some("deadline")),
        ("nothing", None),
    ] {
        ask_first(&host, &told("nothing")).1.renew();
        std::thread::sleep(Duration::from_millis(400));
        assert_eq!(
            error(&ask(&host, VALIDATE, &told(word))),
            expected,
            "{word}"
        );
    }
}

#[test]
fn what_was_not_given_back_yet_takes_nobodys_slot() {
    let engine = EngineConfig {
        concurrency: 1,
        ..EngineConfig::default()
    };
    let engine = Arc::new(Engine::new(&engine).expect("this machine carries the engine"));
    let policy = evaluator::load(
        &engine,
        manifest(&json!({"limits": {"deadline": "2s"}})),
        &misbehave(),
    );
    let policy = policy.expect("the guest can be loaded");
    let host = Admission::new(
        vec![policy],
        Inventory::from(InventoryData::default()),
        Exemptions::default(),
    );
    let reviews: Vec<_> = (0..100)
        .map(|_| ask_first(&host, &told("nothing")))
        .collect();
    assert!(reviews.iter().all(|(outcome, _)| error(outcome).is_none()));
    let kept = reviews.iter().filter(|(_, used)| !used.is_empty()).count();
    assert!((1..100).contains(&kept), "{kept}");
    for (_, used) in reviews {
        used.renew();
        assert_eq!(error(&ask(&host, VALIDATE, &told("nothing"))), None);
    }
}

#[test]
fn an_instance_that_took_much_memory_is_given_back_at_once() {
    let host = patient();
    for _ in 0..2 {
        let (outcome, used) = ask_first(&host, &told("warnings"));
        assert_eq!((error(&outcome), used.is_empty()), (None, true));
        // The next one is asked on an instance that has its place already.
        ask_first(&host, &told("nothing")).1.renew();
    }
}
