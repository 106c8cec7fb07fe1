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

/// The digest distinguishes replicas that serve different sets.
#[tokio::test]
async fn the_digest_of_the_served_set_follows_what_decides() {
    let digest = |text: &str| {
        let series: Vec<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix("sallyport_served_set_info{digest=\""))
            .collect();
        assert_eq!(series.len(), 1, "{text}");
        let (digest, value) = series[0].split_once("\"}").expect("one label");
        assert_eq!(value, " 1");
        assert!(digest.starts_with("sha256:"), "{digest}");
        digest.to_owned()
    };
    let of = async |spec: serde_json::Value| {
        let host = Host::start(&misbehaving(&spec)).await;
        digest(&host.live.metrics_text())
    };
    let first = of(json!({})).await;
    assert_eq!(of(json!({})).await, first, "another replica");
    let candidate = json!({"candidate": {"settings": {"atConfigure": "accept"}}});
    assert_eq!(of(candidate).await, first, "it decides nothing");
    for other in [
        json!({"mode": "Warn"}),
        json!({"match": {"excludeNamespaces": ["team-a"]}}),
        json!({"settings": {"atConfigure": "accept"}}),
    ] {
        assert_ne!(of(other.clone()).await, first, "{other}");
    }
    // A set that is swapped in replaces the series, and the admin port shows the same digest.
    let host = Host::start(&misbehaving(&json!({}))).await;
    let next = Host::start(&misbehaving(&json!({"mode": "Audit"}))).await;
    host.live.publish(next.live.admission());
    let now = digest(&host.live.metrics_text());
    assert_eq!(now, digest(&next.live.metrics_text()));
    let status = host.live.status();
    assert_eq!(status.digest, now);
    assert!(status.lines().contains(&now), "{}", status.lines());
}
