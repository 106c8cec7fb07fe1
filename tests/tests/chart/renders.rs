//! Renders that are written down in `golden/`, so that a change of a template shows as a
//! difference. `WRITE_DEPLOY=1` writes them.

use crate::helm::{HELM, chart, fixture, run, template};
use sallyport_tests::root;
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
