//! The table of presets: the policies of each, and their settings.

use super::{cell, root};
use serde_json::Value;
use std::fmt::Write as _;

const NAMES: [&str; 4] = ["baseline", "restricted", "cloud", "bare-metal"];

pub(super) fn write(page: &mut String) {
    page.push_str(
        "## Presets\n\nSets of policies to start with, under `policies/presets`. \
         `tests/fixtures/presets` holds the verdict of each on the Services of well-known \
         charts.\n\n",
    );
    for name in NAMES {
        let file = root().join(format!("policies/presets/{name}/policies.yaml"));
        let text = std::fs::read_to_string(&file)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let whom = text
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("# "))
            .expect("a preset says whom it is for");
        let _ = write!(
            page,
            "**{name}**. {whom}\n\n| policy | mode | settings that it states |\n|---|---|---|\n"
        );
        for manifest in sallyport_core::yaml::documents(&text).expect("YAML") {
            let spec = &manifest["spec"];
            let settings = match &spec["settings"] {
                Value::Object(settings) => settings
                    .iter()
                    .map(|(key, value)| format!("`{key}: {value}`"))
                    .collect(),
                _ => vec![],
            };
            let mode = spec["mode"].as_str().expect("a preset states the mode");
            let _ = writeln!(
                page,
                "| {} | {mode} | {} |",
                manifest["metadata"]["name"].as_str().unwrap_or_default(),
                cell(&settings.join(", "))
            );
        }
        page.push('\n');
    }
}
