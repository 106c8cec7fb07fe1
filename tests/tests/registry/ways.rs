//! The ways of a policy: pushed, pulled, carried to another network, served.

use crate::{COMPONENT, sallyport};
use sallyport_tests::registry::{Daemon, Guard};
use sallyport_tests::{SALLYPORT, root};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

#[test]
#[ignore = "needs a docker-registry: make registry-test"]
fn the_same_component_has_the_same_digest_whoever_pushes_it_and_when() {
    let registry = Daemon::start(Guard::Open);
    let home = registry.files.path();
    let push = |reference: &str| {
        let license = ["--license", "Apache-2.0"];
        let pushed = sallyport(
            home,
            &[&["push", COMPONENT, reference], &license[..]].concat(),
        );
        pushed
            .done()
            .split_once('@')
            .expect("a digest")
            .1
            .to_owned()
    };
    let first = push(&registry.reference("acme/p:1.0"));
    // A second later, so that a time in the artefact would be another one.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(push(&registry.reference("other/q:2.0")), first);
    let file = registry.file("pulled.wasm");
    let pinned = registry.reference(&format!("acme/p@{first}"));
    sallyport(home, &["pull", &pinned, "-o", &file]).done();
    let [pushed, pulled] = [root().join(COMPONENT), file.into()].map(std::fs::read);
    assert_eq!(pulled.expect("written"), pushed.expect("built"));
}

#[test]
#[ignore = "needs a docker-registry: make registry-test"]
fn a_push_needs_a_policy_and_a_tag() {
    let registry = Daemon::start(Guard::Open);
    let home = registry.files.path();
    let error = sallyport(home, &["push", "README.md", &registry.reference("p:1")]).failed();
    assert!(
        error.contains("README.md: can't serve as a policy"),
        "{error}"
    );
    let digest = registry.reference(&format!("p@sha256:{}", "0".repeat(64)));
    let error = sallyport(home, &["push", COMPONENT, &digest]).failed();
    assert!(
        error.contains("a push needs a tag, and no digest"),
        "{error}"
    );
    let error = sallyport(home, &["pull", &registry.reference("nothing:1")]).failed();
    assert!(error.contains("no artefact 1 there"), "{error}");
}

/// Pushes and signs a policy in both forms. Returns its reference by digest.
fn signed(registry: &Daemon, home: &Path) -> String {
    let tagged = registry.reference("acme/nodeport-range:1.0");
    let pushed = sallyport(home, &["push", COMPONENT, &tagged]).done();
    let pinned = pushed.replace(":1.0@", "@");
    let key = registry.file("policy.key");
    crate::openssl::new_key(&key, &registry.file("policy.pub"), "P-256");
    for format in ["simple", "bundle"] {
        let arguments = ["sign", &pinned, "--key", &key, "--format", format];
        let said = sallyport(home, &arguments).done();
        assert!(
            said.starts_with(&format!("signed {pinned} with the key sha256:")),
            "{said}"
        );
    }
    pinned
}

/// Returns a HostConfig that allows and verifies all of the registry, with a mirror.
fn config(registry: &Daemon, mirror: &str) -> String {
    let key = std::fs::read_to_string(registry.file("policy.pub")).expect("made");
    let all = registry.reference("*");
    let host = all.trim_end_matches("/*");
    let config = json!({
        "apiVersion": "sallyport.dev/v1alpha1", "kind": "HostConfig", "metadata": {"name": "c"},
        "spec": {
            "registries": {"sources": [all], "mirrors": [{"of": host, "at": mirror}]},
            "verification": [{"repositories": [all], "keys": [key]}],
        },
    });
    let file = registry.file("host.yaml");
    std::fs::write(&file, config.to_string()).expect("written");
    file
}

#[test]
#[ignore = "needs a docker-registry: make registry-test"]
fn a_policy_is_carried_into_another_registry_and_stays_signed() {
    let registry = Daemon::start(Guard::Open);
    let inside = Daemon::start(Guard::Open);
    let home = registry.files.path();
    let pinned = signed(&registry, home);
    let layout = registry.file("layout");
    let tagged = registry.reference("acme/nodeport-range:1.0");
    let saved = sallyport(home, &["save", &tagged, "-o", &layout]).done();
    assert_eq!(saved.replace(":1.0@", "@"), pinned);
    let to = inside.reference("mirror");
    let loaded = sallyport(home, &["load", &layout, "--to", &to]).done();
    assert_eq!(
        loaded,
        saved.replace(&registry.reference(""), &inside.reference("mirror/"))
    );
    // The original is gone; the name that was signed stays.
    let config = config(&registry, &to);
    let port = registry.address.port();
    let public = registry.file("policy.pub");
    let kept = std::fs::read_to_string(&public).expect("made");
    let files = registry.files.path().to_owned();
    let verify = |reference: &str| sallyport(&files, &["verify", reference, "--config", &config]);
    verify(&pinned).done();
    // Under the name of the copy, the signature is about another repository.
    let copy = loaded.replace(":1.0@", "@");
    let error = sallyport(&files, &["verify", &copy, "--key", &public]).failed();
    assert!(
        error.contains("it is about another repository, localhost:"),
        "{error}"
    );
    assert!(error.contains(&port.to_string()), "{error}");
    assert!(kept.starts_with("-----BEGIN PUBLIC KEY-----"));
}

/// A serving host.
struct Host(Child);

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a host with one policy, and returns it with the lines up to the one that says that it
/// serves; `None` when it ends before.
fn serve(registry: &Daemon, module: &str, more: &[&str]) -> (Option<Host>, String) {
    let policies = tempfile::tempdir_in(registry.files.path()).expect("a directory");
    let policy: Value = json!({
        "apiVersion": "sallyport.dev/v1alpha1", "kind": "ServicePolicy",
        "metadata": {"name": "nodeport-range"}, "spec": {"module": {"oci": module}},
    });
    std::fs::write(policies.path().join("p.yaml"), policy.to_string()).expect("written");
    let mut child = Command::new(&*SALLYPORT)
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
            "--strict",
        ])
        .args([
            "--self-signed",
            "--no-cache",
            "--ca-out",
            &registry.file("webhook.crt"),
        ])
        .arg("--policies")
        .arg(policies.path())
        .args(more)
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let mut log = String::new();
    for line in lines.map_while(Result::ok) {
        log += &format!("{line}\n");
        if line.contains("serving on https://") {
            return (Some(Host(child)), log);
        }
    }
    let _ = child.wait();
    (None, log)
}

#[test]
#[ignore = "needs a docker-registry: make registry-test"]
fn a_host_serves_a_signed_policy_from_a_registry_or_a_loaded_cache() {
    let registry = Daemon::start(Guard::Open);
    let home = registry.files.path();
    let pinned = signed(&registry, home);
    let layout = registry.file("layout");
    sallyport(home, &["save", &pinned, "-o", &layout]).done();
    let config = config(&registry, "localhost:1/nobody");
    let flags = ["--config", config.as_str()];
    let (host, log) = serve(&registry, &pinned, &flags);
    assert!(host.is_some(), "{log}");
    drop(host);
    let cache = registry.file("cache");
    sallyport(home, &["load", &layout, "--registry-cache", &cache]).done();
    let files = registry.file("");
    drop(std::fs::rename(
        format!("{files}/store"),
        format!("{files}/gone"),
    ));
    let (host, log) = serve(&registry, &pinned, &flags);
    assert!(host.is_none(), "the registry has nothing any more: {log}");
    let flags = [&flags[..], &["--registry-cache", &cache]].concat();
    let (host, log) = serve(&registry, &pinned, &flags);
    assert!(host.is_some(), "{log}");
}

#[test]
#[ignore = "needs a docker-registry: make registry-test"]
fn a_damaged_layout_is_refused() {
    let registry = Daemon::start(Guard::Open);
    let home = registry.files.path();
    let tagged = registry.reference("acme/p:1.0");
    sallyport(home, &["push", COMPONENT, &tagged]).done();
    let layout = registry.file("layout");
    sallyport(home, &["save", &tagged, "-o", &layout]).done();
    for entry in std::fs::read_dir(format!("{layout}/blobs/sha256")).expect("saved") {
        let path = entry.expect("an entry").path();
        let content = std::fs::read(&path).expect("readable");
        if content.starts_with(b"\0asm") {
            std::fs::write(&path, b"\0asm and more").expect("written");
        }
    }
    let to = registry.reference("copy");
    let error = sallyport(home, &["load", &layout, "--to", &to]).failed();
    assert!(
        error.contains("is damaged: its digest is another one"),
        "{error}"
    );
    let error = sallyport(home, &["load", "docs", "--to", &to]).failed();
    assert!(error.contains("docs/index.json: No such file"), "{error}");
}
