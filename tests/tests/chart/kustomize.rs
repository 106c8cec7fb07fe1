//! The chart and the kustomize overlays make the same objects.

use crate::helm::{KUBECTL, Objects, by_name, objects, run};
use sallyport_core::yaml;
use sallyport_tests::root;
use serde_json::Value;
use std::process::Command;

/// Returns the objects of an overlay of `deploy/`, with components laid over it.
fn kustomize(overlay: &str, components: &[&str]) -> Objects {
    let parent = root().join("target/tmp/chart");
    std::fs::create_dir_all(&parent).expect("a directory");
    let directory = tempfile::tempdir_in(&parent).expect("a directory");
    // kustomize takes no absolute paths.
    let deploy = "../../../../deploy";
    let components: Vec<_> = components
        .iter()
        .map(|component| format!("{deploy}/components/{component}"))
        .collect();
    let kustomization = format!(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n\
         resources: [{deploy}/overlays/{overlay}]\ncomponents: [{}]\n",
        components.join(", ")
    );
    std::fs::write(directory.path().join("kustomization.yaml"), kustomization).expect("written");
    let mut command = Command::new(&*KUBECTL);
    command.arg("kustomize").arg(directory.path());
    by_name(&run(&mut command).expect("it builds"))
}

/// The labels by which Helm and its users find the objects of a release.
const LABELS_OF_HELM: [&str; 4] = [
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/version",
    "helm.sh/chart",
];

/// Removes from the chart's objects what only a release needs.
fn without_helm(mut objects: Objects) -> Objects {
    for (name, object) in &mut objects {
        let labels = object["metadata"]["labels"]
            .as_object_mut()
            .unwrap_or_else(|| panic!("{name} has no labels"));
        for label in LABELS_OF_HELM {
            assert!(labels.remove(label).is_some(), "{name} lacks {label}");
        }
    }
    let definition = objects
        .get_mut("CustomResourceDefinition servicepolicies.sallyport.dev")
        .expect("it is there");
    let kept = remove(definition, "/metadata/annotations");
    assert_eq!(kept["helm.sh/resource-policy"], "keep");
    let deployment = objects.get_mut("Deployment sallyport").expect("there");
    let annotations = remove(deployment, "/spec/template/metadata/annotations");
    assert_eq!(
        annotations.as_object().expect("a mapping").len(),
        1,
        "only the checksum by which a new configuration is rolled out: {annotations}"
    );
    objects
}

/// Removes from kustomize's objects what it does in its own way: a ConfigMap has the hash of its
/// content in its name, and the Namespace is one of the objects, whereas Helm's user names it.
fn without_kustomize(objects: Objects) -> Objects {
    let mut plain = Objects::new();
    let mut hashed = None;
    for (name, mut object) in objects {
        if name == "Namespace sallyport-system" {
            continue;
        }
        if let Some(hash) = name.strip_prefix("ConfigMap sallyport-config-") {
            hashed = Some(format!("sallyport-config-{hash}"));
            object["metadata"]["name"] = "sallyport-config".into();
            plain.insert("ConfigMap sallyport-config".to_owned(), object);
        } else {
            plain.insert(name, object);
        }
    }
    let hashed = hashed.expect("a ConfigMap");
    let deployment = plain.get_mut("Deployment sallyport").expect("it is there");
    let volumes = deployment["spec"]["template"]["spec"]["volumes"]
        .as_array_mut()
        .expect("volumes");
    let config = volumes
        .iter_mut()
        .find(|volume| volume["name"] == "config")
        .expect("it is there");
    assert_eq!(config["configMap"]["name"], hashed);
    config["configMap"]["name"] = "sallyport-config".into();
    plain
}

fn remove(object: &mut Value, pointer: &str) -> Value {
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    object
        .pointer_mut(parent)
        .and_then(Value::as_object_mut)
        .and_then(|parent| parent.remove(key))
        .unwrap_or_else(|| panic!("no {pointer}: {object:#}"))
}

/// Sorts lists whose order means nothing, and reads the configuration's text.
fn canonical(objects: &mut Objects) {
    for object in objects.values_mut() {
        for list in [
            "/spec/template/spec/volumes",
            "/spec/template/spec/containers/0/volumeMounts",
        ] {
            if let Some(Value::Array(items)) = object.pointer_mut(list) {
                items.sort_by_key(|item| item["name"].to_string());
            }
        }
        if let Some(Value::String(text)) = object.pointer("/data/config.yaml") {
            object["data"]["config.yaml"] = yaml::documents(text).expect("YAML").remove(0);
        }
    }
}

#[track_caller]
fn are_the_same(overlay: &str, components: &[&str], values: &[&str]) {
    let mut theirs = without_kustomize(kustomize(overlay, components));
    let mut ours = without_helm(objects(values));
    canonical(&mut theirs);
    canonical(&mut ours);
    let names = |objects: &Objects| objects.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&ours), names(&theirs), "{overlay}");
    for (name, object) in &ours {
        assert_eq!(
            *object, theirs[name],
            "{overlay}: {name}: left the chart's, right kustomize's"
        );
    }
    assert!(ours.len() > 12, "{:?}", names(&ours));
}

#[test]
#[ignore = "needs Helm: make chart"]
fn each_mode_makes_the_objects_of_its_overlay() {
    for mode in ["registered", "self-managed", "cert-manager"] {
        are_the_same(mode, &[], &["--set", &format!("mode={mode}")]);
    }
}

#[test]
#[ignore = "needs Helm: make chart"]
fn each_preset_makes_the_objects_of_its_component() {
    for (component, preset) in [
        ("restricted", "restricted"),
        ("cloud", "cloud"),
        ("bare-metal", "bare-metal"),
        ("cluster-policies-only", "none"),
    ] {
        for mode in ["registered", "self-managed"] {
            are_the_same(
                mode,
                &[component],
                &["--set", &format!("preset={preset},mode={mode}")],
            );
        }
    }
}

#[test]
#[ignore = "needs Helm: make chart"]
fn the_background_audit_makes_the_objects_of_its_component() {
    are_the_same(
        "registered",
        &["audit-reports"],
        &["--set", "auditReports.enabled=true"],
    );
}

#[test]
#[ignore = "needs Helm: make chart"]
fn deletions_are_asked_about_where_a_policy_judges_them_or_the_values_say_so() {
    are_the_same(
        "self-managed",
        &["cluster-policies-only", "deletions"],
        &[
            "--set",
            "preset=none,mode=self-managed,webhooks.deletions=true",
        ],
    );
    let webhooks = |values: &str| {
        let objects = objects(&["--set", &format!("mode=self-managed,{values}")]);
        let found = &objects["ValidatingWebhookConfiguration sallyport"]["webhooks"];
        found.as_array().expect("a list").len()
    };
    assert_eq!(webhooks("preset=baseline"), 1);
    assert_eq!(webhooks("preset=cloud"), 2);
    assert_eq!(webhooks("preset=cloud,webhooks.deletions=false"), 1);
    assert_eq!(
        webhooks("preset=cloud,policies.change-protection.enabled=false"),
        1
    );
    let mine = "policies.mine.module.file=change_protection.wasm";
    assert_eq!(webhooks(&format!("preset=none,{mine}")), 2);
}
