//! Every review gets an instance that has not been called before.

use crate::client::PROTOCOLS;
use crate::host::{
    Host, VALIDATE, ask, command, load, misbehave, misbehave_unsnapshotable, misbehaving,
};
use sallyport::server::Limits;
use sallyport_core::admission::Admission;
use sallyport_core::inventory::{Inventory, InventoryData};
use sallyport_core::manifest::Exemptions;
use serde_json::json;

#[test]
fn no_state_survives_a_review() {
    let limits = json!({"limits": {"deadline": "2s"}});
    for guest in [misbehave(), misbehave_unsnapshotable()] {
        let policy = load(&guest, &limits).expect("the guest can be loaded");
        let host = Admission::new(
            vec![policy],
            Inventory::from(InventoryData::default()),
            Exemptions::default(),
        );
        for _ in 0..5 {
            let outcome = ask(&host, VALIDATE, &command("nothing"));
            assert_eq!(
                outcome.response.warnings,
                ["[misbehave] call 1 of this instance"]
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn no_state_survives_and_every_permit_is_returned() {
    // The deadline allows for a busy machine.
    let patient = misbehaving(&json!({"limits": {"deadline": "2s", "memory": "4Mi"}}));
    let limits = Limits {
        evaluations: 2,
        ..Limits::default()
    };
    let host = Host::with(&patient, limits).await;
    let ask = |protocol| {
        let client = host.client.clone();
        tokio::spawn(async move {
            let mut connection = client.connect(protocol).await;
            for _ in 0..25 {
                let review = connection
                    .post("/validate", command("nothing"))
                    .await
                    .json();
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
