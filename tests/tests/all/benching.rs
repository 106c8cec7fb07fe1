//! `sallyport bench`: its table has all figures of a policy, and errors say what is wrong.

use crate::command_line::sallyport;
use serde_json::Value;
use std::process::Output;
use tempfile::TempDir;

/// As quick as it can be: the tests read the form, and not the figures.
const QUICK: [&str; 2] = ["--time", "3ms"];

fn bench(arguments: &[&str]) -> Output {
    sallyport(&[&["bench"], arguments, &QUICK].concat())
}

fn measured(arguments: &[&str]) -> Value {
    let output = bench(&[arguments, &["-o", "json"]].concat());
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{error}"))
}

/// Returns a Service whose annotation makes the guest misbehave.
fn service(word: &str) -> (TempDir, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("service.yaml");
    let text = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{ name: web, annotations: {{ test/do: {word} }} \
         }}\nspec: {{ ports: [{{ port: 80 }}] }}\n"
    );
    std::fs::write(&file, text).expect("written");
    let file = file.to_str().expect("UTF-8").to_owned();
    (directory, file)
}

#[test]
fn a_policy_has_all_figures() {
    let component = "target/policies/nodeport_range.wasm";
    let cost = measured(&[component]);
    let size = std::fs::metadata(crate::host::root().join(component)).expect("built");
    assert_eq!(cost["size"], size.len());
    assert_eq!(cost["policy"], "nodeport-range");
    assert!(
        cost["load"]["microseconds"].as_f64() > Some(1000.0),
        "{cost}"
    );
    let evaluations = cost["evaluations"].as_array().expect("a list");
    assert_eq!(evaluations.len(), 3, "{cost}");
    for evaluation in evaluations {
        let (fresh, live) = (&evaluation["fresh"], &evaluation["live"]);
        assert!(
            fresh["microseconds"].as_f64() > live["microseconds"].as_f64(),
            "a fresh instance must be made: {evaluation}"
        );
        assert_eq!(evaluation["verdict"], "allowed");
    }
    let growth = cost["growth"].as_array().expect("a list");
    assert_eq!(growth.len(), 2, "{cost}");
    for growth in growth {
        let points = growth["points"].as_array().expect("a list");
        let counts: Vec<_> = points
            .iter()
            .filter_map(|point| point["count"].as_u64())
            .collect();
        assert_eq!(counts, [1, 10, 100, 1000]);
    }
    let text = String::from_utf8(bench(&[component]).stdout).expect("UTF-8");
    for part in [
        "nodeport-range",
        "  size ",
        "  load ",
        "fresh",
        "live",
        "  ports ",
        "LoadBalancer",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn memory_that_a_policy_touches_is_counted() {
    let pages = |word| {
        let (_directory, file) = service(word);
        let cost = measured(&["target/guests/misbehave.wasm", "--object", &file]);
        cost["touched"]["pages"].as_u64().expect("counted")
    };
    // It makes a text of 200,000 bytes, which are 48 pages.
    let (quiet, loud) = (pages("nothing"), pages("shout"));
    assert!(quiet > 0 && loud >= quiet + 48, "{quiet} {loud}");
}

#[test]
fn a_manifest_gives_settings_and_a_policy_that_patches_is_asked_to() {
    let cost = measured(&["policies/service-type/policy.yaml"]);
    assert_eq!(cost["evaluations"][0]["function"], "validate");
    let cost = measured(&["target/guests/misbehave.wasm"]);
    let evaluations = cost["evaluations"].as_array().expect("a list");
    let mutations = evaluations.iter().filter(|one| one["function"] == "mutate");
    assert!(
        mutations.clone().count() == 3 && mutations.clone().all(|one| one["verdict"] == "patched")
    );
}

#[test]
fn what_can_not_be_measured_is_named() {
    let (_directory, file) = service("panic");
    for (arguments, expected) in [
        (
            &["target/guests/misbehave.wasm", "--object", &file][..],
            "the Service of --object has no verdict: it trapped: ",
        ),
        (
            &[
                "target/guests/misbehave.wasm",
                "--object",
                "policies/service-type/policy.yaml",
            ],
            "--object policies/service-type/policy.yaml: expected a Service",
        ),
        (&["nowhere.wasm"], "nowhere.wasm: can't be read"),
        (&["README.md"], "README.md"),
    ] {
        let output = bench(arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(expected), "{error}");
    }
}
