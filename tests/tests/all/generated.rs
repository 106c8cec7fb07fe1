//! The generated files of `deploy/`: each equals the current output of its command.
//! `WRITE_DEPLOY=1` writes them.

use crate::command_line::sallyport;
use crate::host::root;
use sallyport::webhooks::registration::DELETIONS;
use sallyport_core::manifest::{HostConfig, ServicePolicy};
use sallyport_core::yaml;
use serde_json::{Value, json};

/// The files that the chart's templates read.
const CHART_FILES: &str = "deploy/chart/sallyport/files";

/// Compares a command's output with the file that holds it.
fn is_current(file: &str, arguments: &[&str]) {
    let output = sallyport(arguments);
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let made = String::from_utf8(output.stdout).expect("UTF-8");
    let path = root().join(file);
    if std::env::var_os("WRITE_DEPLOY").is_some() {
        std::fs::write(&path, &made).expect("it can be written");
        return;
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == made,
        "{file} is not current; run `make deploy-files` and look at the difference"
    );
}

#[test]
fn the_custom_resource_definition_is_current() {
    is_current("deploy/base/crd.yaml", &["crd"]);
    is_current(&format!("{CHART_FILES}/crd.yaml"), &["crd"]);
}

/// Made for any policy, so that every preset has the same registration.
#[test]
fn the_webhook_configurations_are_current() {
    let arguments = [
        "webhooks",
        "--policies-from-cluster",
        "--config",
        "deploy/base/config.yaml",
    ];
    is_current("deploy/base/webhooks.yaml", &arguments);
    // The chart leaves out the webhook for deletions where no policy of the release judges them.
    let arguments = [&arguments[..], &["--deletions"]].concat();
    is_current(&format!("{CHART_FILES}/webhooks.yaml"), &arguments);
}

/// The presets of three components judge deletions.
#[test]
fn the_component_for_deletions_is_current() {
    let output = sallyport(&[
        "webhooks",
        "--policies-from-cluster",
        "--deletions",
        "--config=deploy/base/config.yaml",
    ]);
    let printed = String::from_utf8(output.stdout).expect("UTF-8");
    let documents = yaml::documents(&printed).expect("YAML");
    let mut webhooks = documents
        .iter()
        .flat_map(|document| document["webhooks"].as_array().expect("a list"));
    let webhook = webhooks
        .find(|webhook| webhook["name"] == DELETIONS)
        .expect("it is printed");
    let patch = json!([{"op": "add", "path": "/webhooks/-", "value": webhook}]);
    let made = format!(
        "# Made by `make deploy-files` from `sallyport webhooks --deletions`.\n{}",
        yaml::to_string(&patch)
    );
    let path = root().join("deploy/components/deletions/webhook.yaml");
    if std::env::var_os("WRITE_DEPLOY").is_some() {
        std::fs::write(&path, &made).expect("it can be written");
        return;
    }
    assert!(
        std::fs::read_to_string(&path).is_ok_and(|written| written == made),
        "{} is not current; run `make deploy-files`",
        path.display()
    );
}

/// Helm reads no file outside of a chart.
#[test]
fn the_charts_copies_of_presets_are_current() {
    for preset in ["baseline", "restricted", "cloud", "bare-metal"] {
        let original = root().join(format!("policies/presets/{preset}/policies.yaml"));
        let copy = root().join(format!("{CHART_FILES}/presets/{preset}/policies.yaml"));
        let original = std::fs::read_to_string(original).expect("it is there");
        if std::env::var_os("WRITE_DEPLOY").is_some() {
            std::fs::write(&copy, original).expect("it can be written");
            continue;
        }
        assert!(
            std::fs::read_to_string(&copy).is_ok_and(|copy| copy == original),
            "{} is not current; run `make deploy-files`",
            copy.display()
        );
    }
}

/// Kustomize reads no file outside of a component.
#[test]
fn the_monitoring_components_copies_are_current() {
    let read = |file: &str| {
        let file = root().join(CHART_FILES).join("monitoring").join(file);
        std::fs::read_to_string(file).expect("it is there")
    };
    let rules: String = read("rules.yaml")
        .lines()
        .map(|line| match line.starts_with('#') || line.is_empty() {
            true => format!("{line}\n"),
            false => format!("  {line}\n"),
        })
        .collect();
    let head = "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: \
        sallyport\n  namespace: sallyport-system\nspec:\n";
    for (file, made) in [
        ("prometheus-rule.yaml", format!("{head}{rules}")),
        ("sallyport.json", read("dashboard.json")),
    ] {
        let copy = root().join("deploy/components/monitoring").join(file);
        if std::env::var_os("WRITE_DEPLOY").is_some() {
            std::fs::write(&copy, made).expect("it can be written");
            continue;
        }
        assert!(
            std::fs::read_to_string(&copy).is_ok_and(|copy| copy == made),
            "{} is not current; run `make deploy-files`",
            copy.display()
        );
    }
}

/// The schema contains parts that other types define: a HostConfig, the specs of ServicePolicies,
/// and the settings of the shipped policies. `WRITE_DEPLOY=1` replaces these and keeps the parts
/// that are written by hand.
#[test]
fn the_schema_of_the_charts_values_is_current() {
    let path = root().join("deploy/chart/sallyport/values.schema.json");
    let text = std::fs::read_to_string(&path).expect("it is there");
    let mut schema: Value = serde_json::from_str(&text).expect("JSON");
    let (mut policy, mut config) = (ServicePolicy::schema(), HostConfig::schema());
    simplify(&mut policy);
    simplify(&mut config);
    let definitions = schema["definitions"].as_object_mut().expect("definitions");
    // Names of the generated ones begin with a capital letter.
    definitions.retain(|name, _| name.starts_with(|c: char| c.is_ascii_lowercase()));
    for (name, definition) in [&policy, &config]
        .into_iter()
        .flat_map(|schema| schema["definitions"].as_object().expect("definitions"))
        .filter(|(name, _)| !["Metadata", "ServicePolicySpec"].contains(&name.as_str()))
    {
        definitions.insert(name.clone(), definition.clone());
    }
    schema["properties"]["config"] = json!({"$ref": "#/definitions/HostConfigSpec"});
    let changes = |settings: Option<Value>| {
        let mut properties = policy["definitions"]["ServicePolicySpec"]["properties"].clone();
        if let Some(settings) = settings {
            properties["settings"] = settings;
        }
        properties["enabled"] = json!({
            "description": "False leaves a policy of the preset out.", "type": "boolean",
        });
        json!({"type": "object", "additionalProperties": false, "properties": properties})
    };
    let mut shipped = serde_json::Map::new();
    for entry in std::fs::read_dir(root().join("policies")).expect("readable") {
        let name = entry.expect("an entry").file_name();
        let name = name.into_string().expect("UTF-8");
        if root().join(format!("policies/{name}/policy.wit")).exists() {
            shipped.insert(name.clone(), changes(Some(settings(&name))));
        }
    }
    assert!(shipped.len() > 10, "{:?}", shipped.keys());
    schema["properties"]["policies"]["properties"] = shipped.into();
    schema["properties"]["policies"]["additionalProperties"] = changes(None);
    let made = format!("{schema:#}\n");
    if std::env::var_os("WRITE_DEPLOY").is_some() {
        std::fs::write(&path, made).expect("it can be written");
        return;
    }
    assert!(
        made == text,
        "{} is not current; run `make deploy-files` and look at the difference",
        path.display()
    );
}

#[test]
fn the_chart_and_the_overlays_have_the_programs_version() {
    let version = env!("CARGO_PKG_VERSION");
    let read = |file: &str| {
        let text = std::fs::read_to_string(root().join(file)).expect("readable");
        yaml::documents(&text).expect("YAML").remove(0)
    };
    let chart = read("deploy/chart/sallyport/Chart.yaml");
    assert_eq!(chart["version"], version);
    assert_eq!(chart["appVersion"], version);
    let base = read("deploy/base/kustomization.yaml");
    assert_eq!(base["images"][0]["newTag"], version);
}

/// Rewrites alternatives, of which Helm would report each, so that a wrong value is one line.
fn simplify(schema: &mut Value) {
    match schema {
        Value::Object(object) => object.values_mut().for_each(simplify),
        Value::Array(items) => items.iter_mut().for_each(simplify),
        _ => {}
    }
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    // Words with a description each.
    if let Some(words) = object.get("oneOf").and_then(Value::as_array)
        && words.iter().all(|word| word["const"].is_string())
    {
        let words: Vec<_> = words.iter().map(|word| word["const"].clone()).collect();
        object.remove("oneOf");
        object.insert("enum".to_owned(), words.into());
    }
    // A type that may be absent: in values, null removes a key.
    let any = object.get("anyOf").and_then(Value::as_array).cloned();
    if let Some([one, other]) = any.as_deref()
        && *other == json!({"type": "null"})
    {
        *schema = one.clone();
        return;
    }
    // A reference with a description.
    let all = object.get("allOf").and_then(Value::as_array).cloned();
    if let Some([one]) = all.as_deref()
        && one.get("$ref").is_some()
    {
        *schema = one.clone();
    }
}

/// Returns the JSON Schema of a shipped policy's settings.
fn settings(policy: &str) -> Value {
    let module = format!("target/policies/{}.wasm", policy.replace('-', "_"));
    let output = sallyport(&["inspect", &module, "--output=json"]);
    assert!(output.status.success(), "{module}: {output:?}");
    let mut found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let mut settings = found["settings"].take();
    if let Some(settings) = settings.as_object_mut() {
        settings.remove("$schema");
    }
    settings
}

/// A patch replaces the whole list of arguments.
#[test]
fn the_self_managed_overlay_keeps_the_arguments_of_the_base() {
    let arguments = |file: &str| {
        let text = std::fs::read_to_string(root().join(file)).expect("readable");
        let deployment = &yaml::documents(&text).expect("YAML")[0];
        let arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
            .as_array()
            .expect("a list");
        let mut arguments: Vec<_> = arguments
            .iter()
            .map(|argument| argument.as_str().expect("text").to_owned())
            .collect();
        arguments.sort();
        arguments
    };
    let mut base = arguments("deploy/base/deployment.yaml");
    base.retain(|argument| !argument.starts_with("--tls-"));
    base.push("--self-managed-certificate".to_owned());
    base.sort();
    assert_eq!(
        arguments("deploy/overlays/self-managed/deployment.yaml"),
        base
    );
}

#[test]
fn every_file_that_a_kustomization_names_is_there() {
    let mut named = 0;
    for directory in [
        "deploy/base",
        "deploy/components/audit-reports",
        "deploy/components/bare-metal",
        "deploy/components/cloud",
        "deploy/components/cluster-policies-only",
        "deploy/components/deletions",
        "deploy/components/restricted",
        "deploy/overlays/cert-manager",
        "deploy/overlays/self-managed",
        "deploy/overlays/registered",
    ] {
        let directory = root().join(directory);
        let text = std::fs::read_to_string(directory.join("kustomization.yaml")).expect("readable");
        let kustomization = &yaml::documents(&text).expect("YAML")[0];
        let patches = kustomization["patches"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|patch| &patch["path"]);
        let resources = kustomization["resources"].as_array().into_iter().flatten();
        for file in resources.chain(patches).filter_map(Value::as_str) {
            assert!(
                directory.join(file).exists(),
                "{file} is not in {}",
                directory.display()
            );
            named += 1;
        }
    }
    assert!(named >= 9, "only {named} files are named");
}
