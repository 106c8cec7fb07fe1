//! `sallyport import vap` as a command: what it prints to standard output and standard error, and
//! its exit codes.

use sallyport_tests::SALLYPORT;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

const POLICY: &str = "\
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: { name: no-nodeports, uid: 1234 }
spec:
  matchConstraints:
    resourceRules:
    - { apiGroups: [\"\"], apiVersions: [v1], operations: [CREATE], resources: [services] }
  validations:
  - expression: |
      object.spec.type != 'NodePort' ||
      'owner' in object.metadata.labels
    message: a NodePort needs an owner
status: { observedGeneration: 1 }
";

const BINDING: &str = "\
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: { name: everywhere }
spec: { policyName: no-nodeports, validationActions: [Deny] }
";

fn import(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(&*SALLYPORT)
        .args(["import", "vap"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(input.as_bytes()).expect("read");
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn manifests_are_on_standard_output_and_remarks_on_standard_error() {
    let output = import(&["-"], &format!("{POLICY}{BINDING}"));
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{err}");
    let (_, manifest) = out.split_once("---\n").expect("a head");
    assert_eq!(
        manifest,
        "\
# ValidatingAdmissionPolicy no-nodeports, bound by everywhere
apiVersion: sallyport.dev/v1alpha1
kind: ServicePolicy
metadata:
  name: no-nodeports
spec:
  module:
    file: expressions.wasm
  mode: Enforce
  failurePolicy: Fail
  reason: Invalid
  updates: Always
  settings:
    matchConstraints:
      resourceRules:
      - operations:
        - CREATE
        resources:
        - services
    failurePolicy: Fail
    validations:
    - expression: |
        object.spec.type != 'NodePort' ||
        'owner' in object.metadata.labels
      message: a NodePort needs an owner
"
    );
    assert!(err.ends_with("1 ServicePolicy made\n"), "{err}");
    assert!(
        err.contains("kube-system, kube-public, kube-node-lease"),
        "{err}"
    );
}

#[test]
fn json_is_a_list() {
    let output = import(&["-", "--output", "json"], &format!("{POLICY}{BINDING}"));
    let list: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(list["kind"], "List");
    assert_eq!(list["items"][0]["metadata"]["name"], "no-nodeports");
}

#[test]
fn what_has_no_counterpart_is_a_comment_and_an_exit_code() {
    let output = import(&["-"], POLICY);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1));
    for text in [&out, &err] {
        assert!(
            text.contains("no counterpart: the input has no binding"),
            "{text}"
        );
    }
}

#[test]
fn a_policy_that_would_be_refused_is_not_printed() {
    let policy = POLICY.replace("object.spec.type", "object.spec.tipe");
    let output = import(&["-"], &format!("{policy}{BINDING}"));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), "");
    let err = text(&output.stderr);
    assert!(
        err.starts_with(
            "not imported: ValidatingAdmissionPolicy no-nodeports: \
             spec.validations[0].expression: line 1, column "
        ),
        "{err}"
    );
    assert!(
        err.ends_with("0 ServicePolicies made, 1 not imported\n"),
        "{err}"
    );
}

#[test]
fn without_a_policy_the_command_says_how_to_get_them() {
    let output = import(
        &["-"],
        "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: x }\n",
    );
    assert_eq!(output.status.code(), Some(2));
    let err = text(&output.stderr);
    assert!(
        err.contains(
            "no ValidatingAdmissionPolicy and no MutatingAdmissionPolicy found (1 other object)"
        ),
        "{err}"
    );
}

#[test]
fn an_unknown_field_is_an_error_with_its_path() {
    let policy = POLICY.replace("message:", "mesage:");
    let output = import(&["-"], &format!("{policy}{BINDING}"));
    assert_eq!(output.status.code(), Some(2));
    let err = text(&output.stderr);
    assert!(
        err.contains("ValidatingAdmissionPolicy no-nodeports: spec.validations[0]: unknown key"),
        "{err}"
    );
}
