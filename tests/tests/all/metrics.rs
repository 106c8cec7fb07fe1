//! What `/metrics` says of the policies' work.

use crate::client::Protocol;
use crate::host::{Host, misbehaving, told};
use serde_json::json;

#[tokio::test]
async fn violations_are_counted_by_the_mode_in_which_they_were_found() {
    for mode in ["Enforce", "Warn", "Audit"] {
        let host = Host::start(&misbehaving(&json!({"mode": mode}))).await;
        host.client.post(Protocol::Http2, "/validate", told("deny")).await;
        let series = format!(r#"sallyport_policy_violations_total{{policy="misbehave",mode="{mode}"}}"#);
        assert_eq!(host.metric(&series), 1, "{}", host.live.metrics().to_text());
    }
}
