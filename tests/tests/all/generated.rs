//! Files under `deploy/` that the program makes: each is checked to be what it prints now. `WRITE_DEPLOY=1` writes them.

use crate::command_line::sallyport;
use crate::host::root;
use sallyport::yaml;
use serde_json::Value;

/// What a command prints, beside the file that holds it.
fn is_current(file: &str, arguments: &[&str]) {
    let output = sallyport(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let made = String::from_utf8(output.stdout).expect("UTF-8");
    let path = root().join(file);
    if std::env::var_os("WRITE_DEPLOY").is_some() {
        std::fs::write(&path, &made).expect("it can be written");
        return;
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == made, "{file} is not current; run `make deploy-files` and look at the difference");
}

#[test]
fn the_custom_resource_definition_is_current() {
    is_current("deploy/base/crd.yaml", &["crd"]);
}

/// For every shipped policy, so that a choice among them needs no other registration.
#[test]
fn the_webhook_configurations_are_current() {
    let arguments = ["webhooks", "--policies", "target/policies", "--config", "deploy/base/config.yaml"];
    is_current("deploy/base/webhooks.yaml", &arguments);
}

#[test]
fn every_file_that_a_kustomization_names_is_there() {
    let mut named = 0;
    for directory in ["deploy/base", "deploy/overlays/cert-manager"] {
        let directory = root().join(directory);
        let text = std::fs::read_to_string(directory.join("kustomization.yaml")).expect("readable");
        let kustomization = &yaml::documents(&text).expect("YAML")[0];
        let patches = kustomization["patches"].as_array().into_iter().flatten().map(|patch| &patch["path"]);
        let resources = kustomization["resources"].as_array().into_iter().flatten();
        for file in resources.chain(patches).filter_map(Value::as_str) {
            assert!(directory.join(file).exists(), "{file} is not in {}", directory.display());
            named += 1;
        }
    }
    assert!(named >= 9, "only {named} files are named");
}
