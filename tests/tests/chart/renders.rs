//! Renders that are written down in `golden/`, so that a change of a template shows as a
//! difference. `WRITE_DEPLOY=1` writes them.

use crate::helm::{HELM, by_name, chart, fixture, run, template};
use sallyport_tests::root;
use serde_json::{Value, json};
use std::process::Command;

/// The renders by name. The last one sets every value.
const GOLDEN: [(&str, &[&str]); 5] = [
    ("registered", &[]),
    ("self-managed", &["--set", "mode=self-managed"]),
    ("cert-manager", &["--set", "mode=cert-manager"]),
    ("none", &["--set", "preset=none,hooks.removal=false"]),
    (
        "everything",
        &["--values", "tests/tests/chart/everything.yaml"],
    ),
];

#[test]
#[ignore = "needs Helm: make chart"]
fn renders_are_as_written_down() {
    for (name, values) in GOLDEN {
        let values: Vec<_> = values
            .iter()
            .map(|value| match value.strip_prefix("tests/") {
                Some(_) => root().join(value).display().to_string(),
                None => (*value).to_owned(),
            })
            .collect();
        let mut arguments: Vec<_> = values.iter().map(String::as_str).collect();
        // It is a file of its own, and long.
        arguments.extend(["--set", "crd.install=false"]);
        let made = template(&arguments).expect("it renders");
        let file = fixture(&format!("golden/{name}.yaml"));
        if std::env::var_os("WRITE_DEPLOY").is_some() {
            std::fs::write(&file, made).expect("written");
            continue;
        }
        let written = std::fs::read_to_string(&file).unwrap_or_default();
        let differs = made
            .lines()
            .zip(written.lines())
            .enumerate()
            .find(|(_, (made, written))| made != written);
        assert!(
            made == written,
            "{}: {differs:?} (line, now, before); if that is meant: WRITE_DEPLOY=1 make chart",
            file.display()
        );
    }
}

#[test]
#[ignore = "needs Helm: make chart"]
fn lint_finds_nothing() {
    let mut command = Command::new(&*HELM);
    command
        .args(["lint", "--strict", "--namespace", "sallyport-system"])
        .arg(chart());
    let said = run(&mut command).expect("clean");
    assert!(!said.contains("[WARNING]"), "{said}");
}

#[test]
#[ignore = "needs Helm: make chart"]
fn a_digest_wins_over_a_tag() {
    let digest = format!("sha256:{}", "0".repeat(64));
    let text = template(&[
        "--set",
        &format!("image.repository=example.com/sallyport,image.tag=v1,image.digest={digest}"),
    ])
    .expect("it renders");
    let images: Vec<_> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("image: "))
        .collect();
    assert_eq!(images.len(), 3, "the Deployment and two Jobs: {images:?}");
    assert!(
        images
            .iter()
            .all(|image| *image == format!("example.com/sallyport@{digest}")),
        "{images:?}"
    );
}

/// The pull secret and the authorities are mounted where the arguments name them, in the Deployment
/// and in the check. No right comes with them.
#[test]
#[ignore = "needs Helm: make chart"]
fn registries_files_are_mounted_where_the_arguments_name_them() {
    let values = "registries.pullSecret=pull,registries.ca.secret=corporate,\
        registries.cacheClaim=pulled";
    let made = by_name(&template(&["--set", values]).expect("it renders"));
    let plain = by_name(&template(&[]).expect("it renders"));
    let expected = [
        ("--registry-credentials=", "/secret/secretName", "pull"),
        ("--registry-ca=", "/secret/secretName", "corporate"),
        (
            "--registry-cache=",
            "/persistentVolumeClaim/claimName",
            "pulled",
        ),
    ];
    for name in ["Deployment sallyport", "Job sallyport-check"] {
        let pod = &made[name]["spec"]["template"]["spec"];
        for (flag, source, wanted) in expected {
            assert_eq!(
                behind(pod, flag).pointer(source),
                Some(&json!(wanted)),
                "{name} {flag}: {pod:#}"
            );
        }
    }
    let rights = |name: &&String| name.contains("Role ") || name.contains("RoleBinding ");
    assert!(plain.keys().filter(rights).count() > 4, "{plain:?}");
    for name in plain.keys().filter(rights) {
        assert_eq!(made[name], plain[name], "{name}");
    }
}

/// Returns the volume in which the file of an argument lies.
#[track_caller]
fn behind<'pod>(pod: &'pod Value, flag: &str) -> &'pod Value {
    let list = |value: &'pod Value| value.as_array().expect("a list");
    let container = &pod["containers"][0];
    let path = list(&container["args"])
        .iter()
        .find_map(|argument| argument.as_str()?.strip_prefix(flag));
    let path = path.unwrap_or_else(|| panic!("no {flag}: {container:#}"));
    let mount = list(&container["volumeMounts"]).iter().find(|mount| {
        let mounted = mount["mountPath"].as_str().expect("a path");
        path.starts_with(&format!("{mounted}/"))
    });
    let mount = mount.unwrap_or_else(|| panic!("{path} is not mounted: {container:#}"));
    let volume = list(&pod["volumes"])
        .iter()
        .find(|volume| volume["name"] == mount["name"]);
    volume.unwrap_or_else(|| panic!("no volume for {mount}"))
}
