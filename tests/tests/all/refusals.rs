//! The playground's words for what an API server itself refuses, compared with those of a real one:
//! `tests/kubectl/refusals.json`.

use crate::host::root;
use console_engine::kubectl::printed;
use sallyport_core::admission::Admission;
use sallyport_core::check::{Circumstances, Manifests, Origin, apply};
use sallyport_core::inventory::Inventory;
use sallyport_core::manifest::Exemptions;
use sallyport_core::policy::Policy;
use sallyport_core::suite::User;
use serde_json::Value;
use std::sync::Arc;
use std::time::SystemTime;

/// Returns the lines that the playground shows, and whether it says that they are the real ones.
fn shown(manifest: &str) -> (Vec<String>, bool) {
    let policies: Vec<Arc<Policy>> = vec![];
    let admission = Admission::new(policies, Inventory::default(), Exemptions::default());
    let mut manifests = Manifests::default();
    manifests.add("service.yaml", Origin::Named, Ok(manifest.into()));
    let circumstances = Circumstances {
        admission: &admission,
        namespace: "default",
        user: User::default(),
        now: SystemTime::UNIX_EPOCH,
        old: &Manifests::default(),
        progress: &mut |_, _| {},
    };
    let applied = apply(&circumstances, &manifests);
    let printed: Vec<_> = applied.iter().map(printed).collect();
    let is_verbatim = !printed.is_empty() && printed.iter().all(|lines| lines.is_verbatim);
    (printed.into_iter().map(|it| it.text).collect(), is_verbatim)
}

#[test]
fn the_playground_prints_what_kubectl_printed() {
    let text = std::fs::read_to_string(root().join("tests/kubectl/refusals.json"));
    let recorded: Value = serde_json::from_str(&text.expect("readable")).expect("JSON");
    assert_eq!(recorded["kubernetes"], "v1.36.2");
    let cases = recorded["cases"].as_array().expect("a list");
    assert!(cases.len() >= 70, "{} cases", cases.len());
    let mut wrong = vec![];
    for case in cases {
        let text = |key: &str| case[key].as_str().unwrap_or_default();
        let (lines, is_verbatim) = shown(text("manifest"));
        let is_known = case["here"] != "other words";
        let is_right = match (is_known, is_verbatim) {
            (true, true) => lines.join("\n") == text("printed").trim_end(),
            // It says that these are not the real words.
            (false, false) => lines.join("\n") != text("printed").trim_end(),
            _ => false,
        };
        if !is_right {
            wrong.push(format!(
                "{}:\n  kubectl: {}\n  here:    {}\n  real:    {is_verbatim}",
                text("name"),
                text("printed").trim_end(),
                lines.join("\n"),
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
