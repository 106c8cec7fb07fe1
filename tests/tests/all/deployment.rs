//! The container of `deploy/base/deployment.yaml`: the program starts with its arguments, with this
//! machine's paths.

use crate::api_server::ApiServer;
use crate::client::PROTOCOLS;
use crate::host::{command, root};
use crate::program::{Program, directory};
use sallyport_core::yaml;
use serde_json::{Value, json};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

fn container() -> Value {
    let text = fs::read_to_string(root().join("deploy/base/deployment.yaml")).expect("it is there");
    yaml::documents(&text).expect("YAML")[0]["spec"]["template"]["spec"]["containers"][0].clone()
}

/// Returns the arguments with a preset, except for addresses and certificates. Presets and
/// components are read from this repository, and the volume for compiled code is a directory of the
/// test.
fn arguments(preset: &str, modules: &Path, volume: &Path) -> Vec<String> {
    let moved = |argument: &str| {
        argument
            .replace("$(PRESET)", preset)
            .replace(
                "/etc/sallyport/presets",
                &root().join("policies/presets").display().to_string(),
            )
            .replace("/etc/sallyport/policies", &modules.display().to_string())
            .replace(
                "/etc/sallyport/config/config.yaml",
                &root().join("deploy/base/config.yaml").display().to_string(),
            )
            .replace("/var/cache/sallyport", &volume.display().to_string())
    };
    let container = container();
    let all = container["args"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(Value::as_str);
    let elsewhere = [
        "serve",
        "--tls-",
        "--listen",
        "--admin-listen",
        "--drain-delay",
    ];
    all.filter(|argument| !elsewhere.iter().any(|start| argument.starts_with(start)))
        .map(moved)
        .collect()
}

/// Creates a directory as a kubelet does for an emptyDir of a Pod with an `fsGroup`: writable by
/// all, with the setgid bit.
fn empty_dir() -> tempfile::TempDir {
    let volume = tempfile::tempdir().expect("a directory");
    fs::set_permissions(volume.path(), Permissions::from_mode(0o2777)).expect("it is ours");
    volume
}

fn start(server: &ApiServer, arguments: &[String]) -> Program {
    let kubeconfig = server.kubeconfig();
    let file = kubeconfig.path().join("config").display().to_string();
    let arguments: Vec<_> = arguments
        .iter()
        .map(String::as_str)
        .chain(["--kubeconfig", &file])
        .collect();
    Program::start(&arguments)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_that_restarts_compiles_nothing() {
    let server = ApiServer::new().await;
    let _reachable = server.reachable().await;
    let volume = empty_dir();
    let arguments = arguments("baseline", &root().join("target/policies"), volume.path());
    let compiled = |host: &Program| {
        let log = host.log();
        let (_, rest) = log
            .split_once("all policies are read compilations=")
            .unwrap_or_else(|| panic!("{log}"));
        rest.split_whitespace()
            .next()
            .and_then(|number| number.parse::<usize>().ok())
            .expect("a number")
    };
    let first = start(&server, &arguments);
    assert!(compiled(&first) > 0);
    // Killed, as by the memory limit.
    drop(first);
    let cache = fs::metadata(volume.path().join("compiled")).expect("made");
    assert_eq!(
        cache.mode() & 0o777,
        0o700,
        "closed to others, though the volume is not"
    );
    assert_eq!(compiled(&start(&server, &arguments)), 0);
}

#[test]
fn the_volume_for_compiled_code_has_room_for_the_cache() {
    let container = container();
    let mounts = container["volumeMounts"].as_array().expect("mounts");
    assert!(
        mounts.contains(&json!({"name": "compiled", "mountPath": "/var/cache/sallyport"})),
        "{mounts:?}"
    );
    assert!(
        container["args"]
            .as_array()
            .is_some_and(|all| all.contains(&json!("--cache-size=128Mi")))
    );
    let text = fs::read_to_string(root().join("deploy/base/deployment.yaml")).expect("it is there");
    let volumes = &yaml::documents(&text).expect("YAML")[0]["spec"]["template"]["spec"]["volumes"];
    let compiled = volumes
        .as_array()
        .expect("volumes")
        .iter()
        .find(|volume| volume["name"] == "compiled");
    assert_eq!(
        compiled.expect("a volume")["emptyDir"]["sizeLimit"],
        "512Mi"
    );
}

/// `kubectl set env deployment/sallyport PRESET=none`, after ServicePolicies with the preset's
/// names were applied.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preset_is_switched_off_or_replaced_by_one_variable() {
    let server = ApiServer::new().await;
    let _reachable = server.reachable().await;
    // It stays for the next run, which compiles nothing.
    let (volume, modules) = (root().join("target/tmp/deployment"), directory(&[]));
    fs::create_dir_all(&volume).expect("target/ is this user's");
    server.policy(
        "nodeport-range",
        &json!({"module": {"file": "misbehave.wasm"}}),
    );
    let none = start(&server, &arguments("none", modules.path(), &volume));
    let status = none.status(|status| status["policies"].is_array()).await;
    let names = |status: &Value| -> Vec<String> {
        let all = status["policies"].as_array().expect("a list").iter();
        all.map(|policy| policy["name"].as_str().unwrap_or_default().to_owned())
            .collect()
    };
    assert_eq!(
        names(&status),
        ["nodeport-range"],
        "the cluster's serves, and no file has its name"
    );
    let reply = none
        .client
        .post(PROTOCOLS[0], "/validate", command("deny"))
        .await
        .json();
    assert_eq!(reply["response"]["allowed"], false, "{reply:#}");

    for preset in ["baseline", "restricted", "cloud", "bare-metal"] {
        let host = start(
            &server,
            &arguments(preset, &root().join("target/policies"), &volume),
        );
        let status = host.status(|status| status["policies"].is_array()).await;
        assert!(names(&status).len() > 5, "{preset}: {status:#}");
    }
}

#[test]
fn every_preset_has_a_component_that_chooses_it() {
    assert_eq!(
        container()["env"],
        json!([{"name": "PRESET", "value": "baseline"}])
    );
    for (component, preset) in [
        ("restricted", "restricted"),
        ("cloud", "cloud"),
        ("bare-metal", "bare-metal"),
        ("cluster-policies-only", "none"),
    ] {
        let file = root().join(format!("deploy/components/{component}/kustomization.yaml"));
        let text = fs::read_to_string(&file).expect("it is there");
        let patch = yaml::documents(&text).expect("YAML")[0]["patches"][0]["patch"]
            .as_str()
            .expect("a text")
            .to_owned();
        let patch = &yaml::documents(&patch).expect("YAML")[0];
        let container = &patch["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(
            container["env"],
            json!([{"name": "PRESET", "value": preset}]),
            "{component}"
        );
        assert!(
            root().join("policies/presets").join(preset).is_dir(),
            "{preset}"
        );
    }
}

/// A directory that was not mounted must not switch all policies off.
#[test]
fn an_empty_policy_directory_is_refused_unless_declared() {
    let (empty, modules) = (tempfile::tempdir().expect("a directory"), directory(&[]));
    let [policies, modules] =
        [&empty, &modules].map(|directory| directory.path().to_str().expect("UTF-8"));
    let serve = [
        "serve",
        "--policies",
        policies,
        "--modules",
        modules,
        "--self-signed",
    ];
    let output = crate::command_line::sallyport(&serve);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && errors.contains("no ServicePolicy in"),
        "{errors}"
    );
    // Without policies from the cluster, the file does not help either.
    fs::copy(
        root().join("policies/presets/none/kustomization.yaml"),
        empty.path().join("kustomization.yaml"),
    )
    .expect("copied");
    assert!(!crate::command_line::sallyport(&serve).status.success());
}
