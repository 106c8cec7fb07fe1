//! `/metrics`: evaluations and violations.

use crate::client::{Protocol, probe};
use crate::host::{Host, command, misbehaving};
use crate::program::{Program, directory, manifest};
use serde_json::json;

#[tokio::test]
async fn violations_are_counted_by_the_mode_in_which_they_were_found() {
    for mode in ["Enforce", "Warn", "Audit"] {
        let host = Host::start(&misbehaving(&json!({"mode": mode}))).await;
        host.client
            .post(Protocol::Http2, "/validate", command("deny"))
            .await;
        let series =
            format!(r#"sallyport_policy_violations_total{{policy="misbehave",mode="{mode}"}}"#);
        assert_eq!(host.metric(&series), 1, "{}", host.live.metrics_text());
    }
}

#[tokio::test]
async fn a_policy_that_is_not_asked_any_more_shows() {
    let host = Host::start(&misbehaving(&json!({"limits": {"deadline": "1ms"}}))).await;
    let series = r#"sallyport_policy_short_circuited{policy="misbehave"}"#;
    assert_eq!(host.metric(series), 0, "{}", host.live.metrics_text());
    // Three misses in a row short-circuit a policy; a busy machine may need no loop for that.
    for _ in 0..3 {
        host.client
            .post(Protocol::Http2, "/validate", command("loop"))
            .await;
    }
    assert_eq!(host.metric(series), 1, "{}", host.live.metrics_text());
}

#[tokio::test]
async fn a_second_start_shows_that_it_compiled_nothing() {
    let files = directory(&[("p.yaml", manifest("p", &json!({})))]);
    let cache = files.path().join("cache");
    for (compiles, result) in [(true, "miss"), (false, "hit")] {
        let host = Program::serve(
            files.path(),
            &["--cache-dir", cache.to_str().expect("text")],
        );
        let text = probe(host.admin, "/metrics").await;
        assert_eq!(
            !text.contains("sallyport_compilations_total 0"),
            compiles,
            "{text}"
        );
        assert!(
            text.contains(&format!(
                "sallyport_code_cache_lookups_total{{result=\"{result}\"}} 1"
            )),
            "{text}"
        );
    }
}
