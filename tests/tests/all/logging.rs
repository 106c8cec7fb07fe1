//! The log of a serving host.

use crate::program::{Program, directory, manifest};
use serde_json::{Value, json};

#[tokio::test]
async fn fields_of_json_lines_are_plain_texts() {
    let policies = directory(&[("p.yaml", manifest("p", &json!({})))]);
    let host = Program::serve(policies.path(), &["--no-watch", "--log-format", "json"]);
    host.verdict().await;
    let log = host.log();
    let mut lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let denial = lines
        .find(|line| {
            line["message"]
                .as_str()
                .is_some_and(|text| text.starts_with("denied"))
        })
        .unwrap_or_else(|| panic!("no denial in {log}"));
    assert_eq!(
        json!([denial["namespace"], denial["name"], denial["user"]]),
        json!(["default", "web", "jane"])
    );
}
