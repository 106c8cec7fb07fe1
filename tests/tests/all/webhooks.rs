//! Webhook configurations that the program prints.

use crate::command_line::{sallyport, sallyport_in};
use sallyport::webhooks::registration::DELETIONS;
use sallyport_core::yaml;
use serde_json::{Value, json};

/// Returns the objects that a command prints.
fn printed(arguments: &[&str]) -> Vec<Value> {
    let output = sallyport(arguments);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    yaml::documents(&String::from_utf8(output.stdout).expect("UTF-8")).expect("YAML")
}

pub(crate) const BARE_METAL: [&str; 5] = [
    "webhooks",
    "--policies",
    "policies/presets/bare-metal",
    "--modules",
    "target/policies",
];

/// Returns the printed webhook with this name.
fn webhook(arguments: &[&str], name: &str) -> Option<Value> {
    let mut webhooks = printed(arguments)
        .into_iter()
        .flat_map(|object| object["webhooks"].as_array().expect("a list").clone());
    webhooks.find(|webhook| webhook["name"] == name)
}

const MUTATING: &str = "mutate.sallyport.dev";
const VALIDATING: &str = "validate.sallyport.dev";

#[test]
fn validation_of_writes_fails_closed_and_everything_else_open() {
    let mutating = webhook(&BARE_METAL, MUTATING).expect("some policy patches");
    assert_eq!(
        (&mutating["failurePolicy"], &mutating["reinvocationPolicy"]),
        (&json!("Ignore"), &json!("IfNeeded"))
    );
    let validating = webhook(&BARE_METAL, VALIDATING).expect("some policy judges");
    assert_eq!(validating["failurePolicy"], "Fail");
    let deletions = webhook(&BARE_METAL, DELETIONS).expect("a policy judges deletions");
    assert_eq!(deletions["failurePolicy"], "Ignore");
    assert_eq!(deletions["clientConfig"], validating["clientConfig"]);
    for webhook in [mutating, validating, deletions] {
        assert_eq!(webhook["sideEffects"], "None");
        assert_eq!(webhook["matchPolicy"], "Equivalent");
        assert!(
            webhook["timeoutSeconds"]
                .as_i64()
                .is_some_and(|seconds| seconds <= 3)
        );
        let excluded = &webhook["namespaceSelector"]["matchExpressions"][0];
        assert_eq!(excluded["key"], "kubernetes.io/metadata.name");
        for namespace in ["kube-system", "kube-node-lease", "sallyport-system"] {
            assert!(
                excluded["values"]
                    .as_array()
                    .is_some_and(|values| values.contains(&json!(namespace)))
            );
        }
    }
}

/// Returns a directory with one of the shipped policies.
fn only(module: &str, spec: &Value) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let mut manifest = json!({
        "apiVersion": "sallyport.dev/v1alpha1", "kind": "ServicePolicy", "metadata": {"name": "p"},
        "spec": {"module": {"file": module}},
    });
    for (key, value) in spec.as_object().expect("an object") {
        manifest["spec"][key] = value.clone();
    }
    std::fs::write(directory.path().join("p.json"), manifest.to_string()).expect("written");
    directory
}

fn kinds(directory: &tempfile::TempDir) -> Vec<(String, Value)> {
    let policies = directory.path().to_str().expect("UTF-8");
    let objects = printed(&[
        "webhooks",
        "--policies",
        policies,
        "--modules",
        "target/policies",
    ]);
    let kind = |object: &Value| {
        object["kind"]
            .as_str()
            .unwrap_or_default()
            .replace("WebhookConfiguration", "")
    };
    objects
        .iter()
        .map(|object| (kind(object), object["webhooks"][0]["rules"].clone()))
        .collect()
}

#[test]
fn only_what_some_policy_wants_to_be_asked_is_asked() {
    let rule = |operations: &[&str], resources: &[&str]| {
        json!([{
            "apiGroups": [""], "apiVersions": ["v1"], "operations": operations,
            "resources": resources, "scope": "Namespaced",
        }])
    };
    let services = rule(&["CREATE", "UPDATE"], &["services"]);
    let one = |kind: &str, rules: &Value| (kind.to_owned(), rules.clone());
    assert_eq!(
        kinds(&only("external_name.wasm", &json!({}))),
        [one("Validating", &services)]
    );
    let both = [one("Mutating", &services), one("Validating", &services)];
    assert_eq!(kinds(&only("service_type.wasm", &json!({}))), both);
    assert_eq!(
        kinds(&only("service_type.wasm", &json!({"mode": "Warn"}))),
        [one("Validating", &services)]
    );
    let status = kinds(&only("status_writes.wasm", &json!({})));
    let resources = |rules: &Value| rules.to_string().contains("services/status");
    assert!(
        status
            .iter()
            .any(|(kind, rules)| kind == "Validating" && resources(rules)),
        "{status:?}"
    );
}

#[test]
fn rules_cover_break_glass_and_candidates() {
    let directory = only("nodeport_range.wasm", &json!({}));
    let path = |name: &str| {
        directory
            .path()
            .join(name)
            .to_str()
            .expect("UTF-8")
            .to_owned()
    };
    let rules = |more: &[&str]| {
        let printed = printed(
            &[
                &[
                    "webhooks",
                    "--policies",
                    &path(""),
                    "--modules",
                    "target/policies",
                ],
                more,
            ]
            .concat(),
        );
        printed
            .iter()
            .map(|object| object["webhooks"][0]["rules"].to_string())
            .collect::<Vec<_>>()
    };
    assert!(
        rules(&[]).len() == 1 && !rules(&[])[0].contains("services/status"),
        "{:?}",
        rules(&[])
    );
    let config = tempfile::tempdir().expect("a directory");
    let file = config.path().join("host.json");
    let host_config = json!({
        "apiVersion": "sallyport.dev/v1alpha1", "kind": "HostConfig", "metadata": {"name": "h"},
        "spec": {"exemptions": {"breakGlass": {"users": ["root"]}}},
    });
    std::fs::write(&file, host_config.to_string()).expect("written");
    let guarded = rules(&["--config", file.to_str().expect("UTF-8")]);
    assert!(
        guarded.len() == 1 && guarded[0].contains("services/status"),
        "{guarded:?}"
    );
    let candidate = json!({"candidate": {"module": {"file": "service_type.wasm"}}});
    std::fs::copy(
        only("nodeport_range.wasm", &candidate)
            .path()
            .join("p.json"),
        path("p.json"),
    )
    .expect("copied");
    assert_eq!(
        rules(&[]).len(),
        2,
        "the candidate patches, and the live policy does not"
    );
}

const MARKED: &str = "change_protection.wasm";

/// Returns the names of the webhooks that are printed for a directory of manifests.
fn names(directory: &tempfile::TempDir, more: &[&str]) -> Vec<String> {
    let policies = directory.path().to_str().expect("UTF-8");
    let arguments = [
        "webhooks",
        "--policies",
        policies,
        "--modules",
        "target/policies",
    ];
    let objects = printed(&[&arguments, more].concat());
    let webhooks = objects
        .iter()
        .flat_map(|object| object["webhooks"].as_array().expect("a list"));
    webhooks
        .map(|webhook| webhook["name"].as_str().expect("a name").to_owned())
        .collect()
}

#[test]
fn deletions_are_sent_while_a_policy_or_candidate_judges_them() {
    let mark = json!({"settings": {"mark": "a.example/keep"}});
    let judging = only(MARKED, &mark);
    assert_eq!(names(&judging, &[]), [VALIDATING, DELETIONS]);
    let rules = webhook(
        &[
            "webhooks",
            "--policies",
            judging.path().to_str().expect("UTF-8"),
            "--modules",
            "target/policies",
        ],
        DELETIONS,
    )
    .expect("it is printed")["rules"]
        .clone();
    let expected = json!([{
        "apiGroups": [""], "apiVersions": ["v1"], "operations": ["DELETE"],
        "resources": ["services"], "scope": "Namespaced",
    }]);
    assert_eq!(rules, expected);

    for mode in ["Warn", "Audit"] {
        let judging = only(MARKED, &json!({"mode": mode, "settings": mark["settings"]}));
        assert_eq!(names(&judging, &[]), [VALIDATING, DELETIONS], "{mode}");
    }
    // As shipped it protects nothing; and a mark need not protect from deletion.
    let writes = json!({"settings": {"mark": "a.example/keep", "protect": ["type"]}});
    for silent in [json!({}), writes] {
        assert_eq!(names(&only(MARKED, &silent), &[]), [VALIDATING], "{silent}");
    }
    let candidate = json!({"candidate": mark});
    assert_eq!(
        names(&only(MARKED, &candidate), &[]),
        [VALIDATING, DELETIONS]
    );

    let broken = only("absent.wasm", &json!({}));
    assert_eq!(names(&broken, &[]), [MUTATING, VALIDATING]);
}

/// Break-glass does not: its annotation is checked on writes. Nor do policies that may be created
/// later.
#[test]
fn only_a_known_policy_or_the_flag_sends_deletions() {
    let silent = only("external_name.wasm", &json!({}));
    let from_cluster = ["--policies-from-cluster"];
    let policies = "policies.sallyport.dev";
    assert_eq!(
        names(&silent, &from_cluster),
        [MUTATING, VALIDATING, policies]
    );
    let text = String::from_utf8(sallyport(&["webhooks", from_cluster[0]]).stdout).expect("UTF-8");
    assert!(
        text.contains("that judges them needs --deletions"),
        "{text}"
    );
    assert_eq!(
        names(&silent, &[from_cluster[0], "--deletions"]),
        [MUTATING, VALIDATING, DELETIONS, policies]
    );
    let config = tempfile::tempdir().expect("a directory");
    let file = config.path().join("host.json");
    let host_config = json!({
        "apiVersion": "sallyport.dev/v1alpha1", "kind": "HostConfig", "metadata": {"name": "h"},
        "spec": {"exemptions": {"breakGlass": {"users": ["root"]}}},
    });
    std::fs::write(&file, host_config.to_string()).expect("written");
    let file = file.to_str().expect("UTF-8");
    assert_eq!(names(&silent, &["--config", file]), [VALIDATING]);
}

/// Any ServicePolicy may be created later, and nobody prints a new registration for it.
#[test]
fn rules_cover_any_policy_of_the_cluster() {
    let policies = only("external_ips.wasm", &json!({}));
    let policies = [
        "--policies",
        policies.path().to_str().expect("UTF-8"),
        "--modules",
        "target/policies",
    ];
    let objects = printed(&[&["webhooks", "--policies-from-cluster"][..], &policies].concat());
    let elsewhere = tempfile::tempdir().expect("a directory without any policy");
    let output = sallyport_in(elsewhere.path(), &["webhooks", "--policies-from-cluster"]);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(
        yaml::documents(&text).expect("YAML"),
        objects,
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let output = sallyport_in(
        elsewhere.path(),
        &["webhooks", "--policies-from-cluster", "--backstop"],
    );
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        errors.contains("name the policies that it stands in for"),
        "{errors}"
    );
    let names: Vec<_> = objects
        .iter()
        .map(|object| (object["kind"].as_str(), object["metadata"]["name"].as_str()))
        .collect();
    let [mutating, validating, checking] =
        ["Mutating", "Validating", "Validating"].map(|kind| format!("{kind}WebhookConfiguration"));
    let expected = [
        (&mutating, "sallyport"),
        (&validating, "sallyport"),
        (&checking, "sallyport-policies"),
    ];
    assert_eq!(
        names,
        expected.map(|(kind, name)| (Some(kind.as_str()), Some(name)))
    );
    for object in &objects[..2] {
        let rules = &object["webhooks"][0]["rules"];
        assert_eq!(
            (&rules[0]["resources"], &rules[0]["operations"]),
            (&json!(["services"]), &json!(["CREATE", "UPDATE"]))
        );
        assert_eq!(
            (&rules[1]["resources"], &rules[1]["operations"]),
            (&json!(["services/status"]), &json!(["UPDATE"]))
        );
    }
    let webhook = &objects[2]["webhooks"][0];
    assert_eq!(
        (&webhook["failurePolicy"], &webhook["sideEffects"]),
        (&json!("Ignore"), &json!("None"))
    );
    assert_eq!(
        webhook["clientConfig"]["service"]["path"],
        "/validate-policies"
    );
    let rule = json!([{
        "apiGroups": ["sallyport.dev"], "apiVersions": ["v1alpha1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["servicepolicies"], "scope": "Cluster",
    }]);
    assert_eq!(webhook["rules"], rule);
}

#[test]
fn an_old_cluster_gets_no_match_conditions_and_a_note() {
    let arguments = [&BARE_METAL[..], &["--kubernetes", "1.27"]].concat();
    let webhook = webhook(&arguments, VALIDATING).expect("it is printed");
    assert_eq!(webhook["matchConditions"], Value::Null);
    let text = String::from_utf8(sallyport(&arguments).stdout).expect("UTF-8");
    assert!(text.contains("# Without match conditions"), "{text}");
}

#[test]
fn a_host_outside_the_cluster_is_called_by_its_url() {
    let directory = tempfile::tempdir().expect("a directory");
    let bundle = directory.path().join("ca.crt");
    let ca = sallyport::tls::self_signed().expect("a certificate").ca;
    std::fs::write(&bundle, &ca).expect("written");
    let bundle = bundle.to_str().expect("UTF-8");
    let arguments = [
        &BARE_METAL[..],
        &["--url", "https://gate.example:8443/", "--ca-bundle", bundle],
    ]
    .concat();
    let webhook = webhook(&arguments, VALIDATING).expect("it is printed");
    let config = &webhook["clientConfig"];
    assert_eq!(config["url"], "https://gate.example:8443/validate");
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, ca);
    assert_eq!(config["caBundle"], encoded);
}

#[test]
fn what_can_be_no_registration_is_an_error() {
    for (more, expected) in [
        (
            ["--url", "http://a.example"],
            "does not begin with https://",
        ),
        (["--ca-bundle", "Cargo.toml"], "holds no certificate"),
        (["--kubernetes", "2"], "expected a version such as 1.30"),
        (["--namespace", "Sally"], "use lower-case letters"),
    ] {
        let output = sallyport(&[&BARE_METAL[..], &more].concat());
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(expected), "{text}");
    }
}
