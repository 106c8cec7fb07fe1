//! Starts of `sallyport serve` that are refused: the error names the flag or file, and what to do.

use crate::command_line::{BROKEN, SALLYPORT, directory, fails, sallyport, shown};
use crate::host::root;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Command, Stdio};

fn serve<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let all = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
    ];
    all.into_iter().chain(more.iter().copied()).collect()
}

#[test]
fn a_port_in_use_says_which_flag_chooses_another() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let out = directory(&[]);
    let ca = format!("{}/ca.crt", shown(&out));
    let error = fails(&[
        "serve",
        "--policies",
        "target/policies",
        "--self-signed",
        "--ca-out",
        &ca,
        "--admin-listen",
        "127.0.0.1:0",
        "--listen",
        &address,
    ]);
    let expected = format!(
        "error: can't listen on {address}; free the port or choose another with --listen: "
    );
    assert!(
        error.starts_with(&expected) && error.lines().count() == 1,
        "{error}"
    );
}

#[test]
fn a_certificate_that_is_none_is_named_with_its_file() {
    let files = directory(&[("tls.crt", "garbage"), ("tls.key", "garbage")]);
    let (cert, key) = (
        format!("{}/tls.crt", shown(&files)),
        format!("{}/tls.key", shown(&files)),
    );
    let error = fails(&serve(&[
        "--policies",
        "target/policies",
        "--tls-cert",
        &cert,
        "--tls-key",
        &key,
    ]));
    assert_eq!(
        error,
        format!(
            "error: certificate {cert} with key {key}: no certificate in it; expected PEM blocks \
             BEGIN CERTIFICATE, the \
             server's own first"
        )
    );
}

#[test]
fn a_certificate_that_is_missing_is_named() {
    let error = fails(&serve(&[
        "--policies",
        "target/policies",
        "--tls-cert",
        "/nowhere/tls.crt",
        "--tls-key",
        "/nowhere/tls.key",
    ]));
    assert!(
        error.starts_with("error: can't read /nowhere/tls.crt: ") && error.lines().count() == 1,
        "{error}"
    );
}

#[test]
fn a_missing_directory_of_policies_is_named() {
    let error = fails(&serve(&["--policies", "/nowhere", "--self-signed"]));
    let expected = "error: can't read the directory of policies, /nowhere: ";
    assert!(
        error.starts_with(expected) && error.lines().count() == 1,
        "{error}"
    );
}

#[test]
fn an_empty_directory_of_policies_is_named() {
    let empty = directory(&[]);
    let error = fails(&serve(&["--policies", shown(&empty), "--self-signed"]));
    let expected = "expected manifests (*.yaml, *.yml, *.json)";
    assert_eq!(
        error,
        format!("error: no ServicePolicy in {}; {expected}", shown(&empty))
    );
}

#[test]
fn strict_refuses_to_start_with_a_broken_policy() {
    let policies = directory(&[("gone.yaml", BROKEN)]);
    let error = fails(&serve(&[
        "--policies",
        shown(&policies),
        "--self-signed",
        "--strict",
    ]));
    let mut lines = error.lines();
    assert_eq!(
        lines.next(),
        Some("error: 1 of 1 policies can't be loaded, and --strict is set:")
    );
    let place = format!(
        "  gone: {0}/gone.yaml: spec.module.file: can't read {0}/gone.wasm: ",
        shown(&policies)
    );
    assert!(
        lines.next().is_some_and(|line| line.starts_with(&place)),
        "{error}"
    );
}

#[test]
fn a_module_that_is_too_large_is_not_read() {
    let policies = directory(&[("gone.yaml", BROKEN)]);
    let module = std::fs::File::create(policies.path().join("gone.wasm")).expect("made");
    module
        .set_len((64 << 20) + 1)
        .expect("a hole takes no room");
    let error = fails(&serve(&[
        "--policies",
        shown(&policies),
        "--self-signed",
        "--strict",
    ]));
    assert!(
        error.contains("gone.wasm: it is larger than 64 MiB, the most that a module may have"),
        "{error}"
    );
}

#[test]
fn a_typo_in_a_manifest_is_named_with_the_nearest_key() {
    let policies = directory(&[("gone.yaml", &BROKEN.replace("module", "modul"))]);
    let error = fails(&serve(&["--policies", shown(&policies), "--self-signed"]));
    let expected = format!(
        r#"error: {}/gone.yaml: spec: unknown key "modul" (did you mean "module"?); "#,
        shown(&policies)
    );
    assert!(
        error.starts_with(&expected) && error.lines().count() == 1,
        "{error}"
    );
}

#[test]
fn a_typo_in_the_configuration_is_named() {
    let config = directory(&[(
        "host.yaml",
        "apiVersion: sallyport.dev/v1alpha1\nkind: HostConfig\nspec: { inventori: {} }\n",
    )]);
    let file = format!("{}/host.yaml", shown(&config));
    let error = fails(&serve(&[
        "--policies",
        "target/policies",
        "--self-signed",
        "--config",
        &file,
    ]));
    let expected =
        format!(r#"error: {file}: spec: unknown key "inventori" (did you mean "inventory"?); "#);
    assert!(
        error.starts_with(&expected) && error.lines().count() == 1,
        "{error}"
    );
}

#[test]
fn a_start_without_policies_names_the_flags_for_them() {
    let errors = |arguments: &[&str]| {
        let output = sallyport(&[&["serve", "--self-signed"], arguments].concat());
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let nothing = errors(&[]);
    assert!(
        nothing.contains("<--policies <DIR>|--policies-from-cluster>"),
        "{nothing}"
    );
    assert!(
        !nothing.contains("--modules"),
        "modules lie beside manifests: {nothing}"
    );
    let cluster = errors(&["--cluster", "--policies-from-cluster"]);
    assert!(
        cluster.contains("name the directory of the modules with --modules"),
        "{cluster}"
    );
}

#[test]
fn a_second_host_does_not_replace_the_authority_of_the_first() {
    let files = directory(&[]);
    let ca = format!("{}/ca.crt", shown(&files));
    let serving = serve(&[
        "--policies",
        "target/policies",
        "--self-signed",
        "--ca-out",
        &ca,
    ]);
    let mut first = Command::new(&*SALLYPORT)
        .args(&serving)
        .current_dir(root())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let log = BufReader::new(first.stderr.take().expect("piped"));
    let mut lines = log.lines().map(|line| line.expect("text"));
    assert!(lines.any(|line| line.contains("the certificate's authority is in")));
    let authority = std::fs::read_to_string(&ca).expect("it was written");
    let error = fails(&serving);
    assert!(
        error.contains(&format!(
            "another process serves with the authority in {ca}"
        )),
        "{error}"
    );
    assert!(
        error.contains("give this one a file of its own, such as --ca-out "),
        "{error}"
    );
    assert_eq!(
        std::fs::read_to_string(&ca).expect("it is there"),
        authority
    );
    first.kill().expect("it runs");
    first.wait().expect("it ended");
}

#[test]
fn sizes_and_durations_have_one_notation_in_all_flags() {
    let base = ["--policies", "target/policies", "--self-signed", "--ca-out"];
    for (flag, value) in [
        ("--drain-delay", "10"),
        ("--drain-delay", "1m30s"),
        ("--body-limit", "8Mi"),
        ("--body-limit", "65536"),
        ("--cache-size", "134217728"),
        ("--watch-interval", "1s500ms"),
        ("--max-in-flight", "8"),
    ] {
        // The directory for the authority is a file, so that every start ends.
        let arguments = [&base[..], &["Cargo.toml/ca.crt", flag, value]].concat();
        let error = fails(&serve(&arguments));
        assert!(
            error.starts_with("error: can't write Cargo.toml/ca.crt"),
            "{flag}: {error}"
        );
    }
    for (flag, value, expected) in [
        (
            "--drain-delay",
            "2h",
            "expected a duration from 0s to 1h, such as 10s or 1m30s",
        ),
        (
            "--watch-interval",
            "5",
            "expected a duration from 1ms to 1h",
        ),
        (
            "--body-limit",
            "8M",
            "expected a size from 1 byte to 1Gi, such as 8Mi or 65536",
        ),
    ] {
        let arguments = [&base[..], &["x", flag, value]].concat();
        let error = fails(&serve(&arguments));
        assert!(error.contains(expected), "{flag} {value}: {error}");
    }
}
