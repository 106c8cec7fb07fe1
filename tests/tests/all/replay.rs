//! `sallyport replay`: reviews recorded by the real host get the same answers again, and different
//! ones from other policies.

use crate::client::{Connection, PROTOCOLS};
use crate::command_line::sallyport;
use crate::host::{ENGINE_OF_SUITES, LONG_DEADLINE, body, built, root};
use crate::parity;
use crate::program::{Program, put};
use hyper::StatusCode;
use sallyport::record::{HashKey, Record};
use sallyport::replay::{Change, Replayer};
use sallyport_core::admission::{AdmissionRequest, Clock};
use sallyport_core::policy::Deadline;
use sallyport_core::suite::Setup;
use sallyport_core::units::Millis;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// Policies beside their components, a log, and the test's files.
struct Recorded {
    files: TempDir,
}

impl Recorded {
    fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// Writes a directory of policies, each from a shipped component and a spec.
    fn policies(&self, directory: &str, policies: &[(&str, Value)]) -> PathBuf {
        let directory = self.path(directory);
        std::fs::create_dir_all(&directory).expect("made");
        for (name, spec) in policies {
            let module = format!("{}.wasm", name.replace('-', "_"));
            let folder = if *name == "witness" {
                "guests"
            } else {
                "policies"
            };
            std::fs::write(
                directory.join(&module),
                built(&format!("{folder}/{module}")),
            )
            .expect("written");
            let mut manifest = json!({
                "apiVersion": "sallyport.dev/v1alpha1", "kind": "ServicePolicy",
                "metadata": {"name": name},
                "spec": {"module": {"file": module}, "limits": {"deadline": "10s"}},
            });
            manifest["spec"]
                .as_object_mut()
                .expect("an object")
                .extend(spec.as_object().expect("an object").clone());
            put(&directory, &format!("{name}.json"), &manifest.to_string());
        }
        directory
    }

    /// Returns the shipped policies with long deadlines: a busy machine must not cause differences.
    fn patient_policies(&self) -> PathBuf {
        let directory = self.path("patient");
        std::fs::create_dir(&directory).expect("made");
        for entry in std::fs::read_dir(root().join("target/policies")).expect("a directory") {
            let file = entry.expect("an entry").path();
            if file.extension().is_some_and(|end| end == "yaml") {
                let manifest = std::fs::read_to_string(&file).expect("read");
                let patient = manifest.replace("deadline: 50ms", "deadline: 10s");
                assert_ne!(patient, manifest, "{}", file.display());
                put(
                    &directory,
                    file.file_name()
                        .and_then(|name| name.to_str())
                        .expect("text"),
                    &patient,
                );
            }
        }
        directory
    }

    /// Records the answers of a host with these policies.
    async fn record(
        policies: &[(&str, Value)],
        more: &[&str],
        reviews: &[(&str, Vec<u8>)],
    ) -> Self {
        let recorded = Self {
            files: tempfile::tempdir().expect("a directory"),
        };
        let directory = recorded.policies("live", policies);
        recorded.record_from(&directory, more, reviews).await;
        recorded
    }

    async fn record_from(&self, policies: &Path, more: &[&str], reviews: &[(&str, Vec<u8>)]) {
        let log = self.path("log");
        let more = [
            &["--record", log.to_str().expect("text")],
            &["--drain-delay", "0s"],
            more,
        ]
        .concat();
        let mut host = Program::serve(policies, &more);
        let mut connection = host.client.connect(PROTOCOLS[1]).await;
        for (path, body) in reviews {
            post(&mut connection, path, body.clone()).await;
        }
        host.signal("TERM");
        assert!(host.wait().success(), "{}", host.log());
    }

    fn replay(&self, more: &[&str]) -> Output {
        let log = self.path("log");
        sallyport(&[&["replay", log.to_str().expect("text")], more].concat())
    }
}

async fn post(connection: &mut Connection, path: &str, body: Vec<u8>) {
    let reply = connection.post(path, body).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
        + &String::from_utf8_lossy(&output.stderr)
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", text(output)))
}

fn node_port(port: u16) -> Vec<u8> {
    let object = json!({
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"type": "NodePort", "selector": {"app": "web"},
            "ports": [{"port": 80, "targetPort": "web", "nodePort": port}]},
    });
    body("CREATE", &object, &Value::Null)
}

fn range(from: u16, to: u16) -> Value {
    json!({"settings": {"ranges": [{"from": from, "to": to}]}})
}

fn directory(path: &Path) -> &str {
    path.to_str().expect("text")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn recorded_reviews_get_the_same_answers_again() {
    // The recording host has other facts than the configuration of the replay: replay takes them
    // from the record.
    let config = json!({
        "apiVersion": "sallyport.dev/v1alpha1", "kind": "HostConfig",
        "metadata": {"name": "recorded"},
        "spec": {"inventory": {
            "cluster": {"environment": "cloud",
                "nodes": [{"name": "a", "providerID": "aws:///eu/i-1"}]},
            "namespaces": {"default": {"labels": {"team": "x"}}},
            "pods": [{"namespace": "default", "labels": {"app": "web"},
                "ports": [{"name": "web", "containerPort": 5432}]}],
        }},
    });
    let recorded = Recorded {
        files: tempfile::tempdir().expect("a directory"),
    };
    put(recorded.files.path(), "host.yaml", &config.to_string());
    let mut reviews = vec![
        ("/validate", node_port(30500)),
        ("/validate", node_port(29999)),
    ];
    for entry in std::fs::read_dir(root().join("tests/admission-reviews")).expect("a directory") {
        let file = entry.expect("an entry").path();
        let name = file
            .file_name()
            .and_then(|name| name.to_str())
            .expect("text")
            .to_owned();
        if file.extension().is_some_and(|end| end == "json") {
            let path = if name.contains("-mutate-") {
                "/mutate"
            } else {
                "/validate"
            };
            reviews.push((path, std::fs::read(&file).expect("read")));
        }
    }
    let config = recorded.path("host.yaml");
    let policies = recorded.patient_policies();
    let more = [
        "--config",
        directory(&config),
        "--modules",
        "target/policies",
    ];
    recorded.record_from(&policies, &more, &reviews).await;
    let log = std::fs::read_to_string(recorded.path("log")).expect("a log");
    assert_eq!(log.lines().count(), reviews.len());
    for field in ["spec.ports[0].nodePort", "spec.ports[0].targetPort"] {
        assert!(
            log.contains(&format!(r#""field":"{field}""#)),
            "denied, also for what its Pods listen on: {field}"
        );
    }
    let more = [
        "--policies",
        directory(&policies),
        "--modules",
        "target/policies",
        "--output",
        "json",
    ];
    let output = recorded.replay(&more);
    let report = json_of(&output);
    assert_eq!(
        (&report["same"], output.status.code()),
        (&json!(reviews.len()), Some(0)),
        "{report:#}"
    );
}

#[test]
fn every_fixture_is_recorded_and_gives_the_same_verdict_again() {
    let key = HashKey::random().expect("random numbers");
    let (mut replayed, mut hashed, mut unrepeatable) = (0, 0, 0);
    for cases in parity::cases().into_values() {
        let mut setup = Setup::clone(&cases[0].1.setup);
        for source in &mut setup.policies {
            // A busy machine must not cause differences.
            source.manifest.spec.limits.deadline = Millis::new(10_000);
        }
        let admission = parity::admission(&ENGINE_OF_SUITES, &setup);
        let replayer = Replayer::new(admission.policies().to_vec(), setup.exemptions.clone());
        for (name, case) in &cases {
            let body = case.review_body();
            let Ok(request) = AdmissionRequest::parse(&body) else {
                continue;
            };
            let clock = Clock {
                now: case.time,
                deadline: Deadline::Each(LONG_DEADLINE),
            };
            let outcome = admission.review(case.function, &request, clock);
            // A body that nests too deeply is counted as one that can't be recorded.
            let Ok(record) = Record::of(
                case.function,
                &body,
                case.time,
                (&admission, 1),
                admission.inventory(),
                &outcome,
                &key,
            ) else {
                continue;
            };
            let line = serde_json::to_vec(&record).expect("a line");
            let record: Record = serde_json::from_slice(&line).expect("its own form");
            let verdict = replayer.verdict(&record).expect("a review");
            let differences = record.verdict().differences(&verdict);
            // A value that looks like a credential is hashed, even when a policy compares it.
            let is_unrepeatable = differences
                .iter()
                .any(|found| found.change == Change::CannotBeRepeated);
            assert!(
                differences.is_empty() || is_unrepeatable,
                "{name}: {differences:#?}"
            );
            replayed += 1;
            hashed += usize::from(!record.redacted.is_empty());
            unrepeatable += usize::from(is_unrepeatable);
        }
    }
    assert!(replayed > 500, "{replayed}");
    assert!(
        hashed * 2 > replayed,
        "{hashed} of {replayed} hold hashed texts"
    );
    assert!(
        unrepeatable * 100 < replayed,
        "{unrepeatable} of {replayed} cannot be repeated"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_changed_setting_shows_as_a_table_of_what_it_would_change() {
    let reviews = [
        ("/validate", node_port(30150)),
        ("/validate", node_port(30500)),
        ("/validate", node_port(30600)),
    ];
    let recorded =
        Recorded::record(&[("nodeport-range", range(30000, 30550))], &[], &reviews).await;
    let next = recorded.policies("next", &[("nodeport-range", range(30100, 30199))]);
    let output = recorded.replay(&["--policies", directory(&next)]);
    let text = text(&output);
    let (table, totals) = text.trim_end().rsplit_once('\n').expect("several lines");
    let expected = "\
REVIEWS  CHANGE              POLICY          RULE
      1  newly denied        nodeport-range  S02
           default/web 5a11b0a7-0000-4000-8000-00000000000a: spec.ports[0].nodePort: 30500 is \
           outside 30100-30199";
    assert_eq!(table, expected);
    assert!(
        totals.starts_with("3 reviews from 20") && totals.ends_with(": 2 the same, 1 newly denied"),
        "{totals}"
    );
    assert_eq!(output.status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn two_directories_are_compared_on_the_same_reviews() {
    let recorded = Recorded::record(
        &[("nodeport-range", range(30000, 32767))],
        &[],
        &[("/validate", node_port(30500))],
    )
    .await;
    let a = recorded.policies("a", &[("nodeport-range", range(30100, 30199))]);
    let b = recorded.policies("b", &[("nodeport-range", range(30100, 30599))]);
    let compare = |next: &Path, against: &Path| {
        json_of(&recorded.replay(&[
            "--policies",
            directory(next),
            "--against",
            directory(against),
            "--output",
            "json",
        ]))
    };
    assert_eq!(compare(&b, &a)["changes"], json!({"newlyAllowed": 1}));
    assert_eq!(compare(&a, &b)["changes"], json!({"newlyDenied": 1}));
    assert_eq!(compare(&a, &a)["same"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn candidates_are_tried_in_place_of_their_live_policies() {
    let mut spec = range(30000, 32767);
    spec["candidate"] = range(30100, 30199);
    let recorded = Recorded::record(
        &[("nodeport-range", spec)],
        &[],
        &[("/validate", node_port(30500))],
    )
    .await;
    let live = recorded.path("live");
    let output = recorded.replay(&[
        "--policies",
        directory(&live),
        "--candidates",
        "--output",
        "json",
    ]);
    assert_eq!(json_of(&output)["changes"], json!({"newlyDenied": 1}));
    assert_eq!(
        recorded
            .replay(&["--policies", directory(&live)])
            .status
            .code(),
        Some(0),
        "else they have no effect"
    );
    let none = recorded.replay(&["--policies", "target/policies", "--candidates"]);
    assert!(
        text(&none).contains("has a candidate; see spec.candidate"),
        "{}",
        text(&none)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn another_patch_is_a_difference() {
    let inside = |coerce: bool| {
        [(
            "clusterip-internal",
            json!({"settings": {"coerce": coerce}}),
        )]
    };
    let object = json!({
        "metadata": {"name": "db", "namespace": "default"},
        "spec": {"type": "NodePort", "selector": {"app": "postgres"}, "ports": [{"port": 5432}]},
    });
    let review = body("CREATE", &object, &Value::Null);
    let recorded = Recorded::record(&inside(false), &[], &[("/mutate", review)]).await;
    let next = recorded.policies("next", &inside(true));
    let report = json_of(&recorded.replay(&["--policies", directory(&next), "--output", "json"]));
    assert_eq!(report["changes"]["otherPatch"], 1, "{report:#}");
    assert_eq!(report["differences"][0]["policy"], "clusterip-internal");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_policy_that_compares_what_was_hashed_gets_no_verdict() {
    let denied = |key: &str| json!({"settings": {"denied": [{"key": key, "values": ["open-*"]}]}});
    let object = json!({
        "metadata": {"name": "web", "namespace": "default",
            "annotations": {"example.com/a": "open-1", "example.com/b": "open-2"}},
        "spec": {"type": "ClusterIP", "ports": [{"port": 80}]},
    });
    let policies = [("exposure-annotations", denied("example.com/a"))];
    let recorded = Recorded::record(
        &policies,
        &[],
        &[("/validate", body("CREATE", &object, &Value::Null))],
    )
    .await;
    let log = std::fs::read_to_string(recorded.path("log")).expect("a log");
    assert!(log.contains("open-1") && !log.contains("open-2"), "{log}");
    let same = recorded.replay(&["--policies", directory(&recorded.path("live"))]);
    assert_eq!(same.status.code(), Some(0), "{}", text(&same));
    let next = recorded.policies("next", &[("exposure-annotations", denied("*/b"))]);
    let output = recorded.replay(&["--policies", directory(&next)]);
    let (text, code) = (text(&output), output.status.code());
    let expected = "policy exposure-annotations compares a hashed field: \
        /request/object/metadata/annotations/example.com~1b";
    assert!(
        text.contains(expected) && text.contains("1 cannot be repeated"),
        "{text}"
    );
    assert_eq!(code, Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_field_that_only_raw_objects_have_is_hashed_and_gets_them_no_verdict() {
    let files = tempfile::tempdir().expect("a directory");
    let config = json!({
        "apiVersion": "sallyport.dev/v1alpha1", "kind": "HostConfig",
        "metadata": {"name": "c"},
        "spec": {"inventory": {"namespaces": {"default": {"annotations":
            {"test/owner": "owner-kept", "example.com/note": "note-hidden"}}}}},
    });
    put(files.path(), "config.yaml", &config.to_string());
    let config = files.path().join("config.yaml");
    let review = |spec: Value| {
        let object = json!({"metadata": {"name": "web", "namespace": "default"}, "spec": spec});
        let body = body("CREATE", &object, &Value::Null);
        let mut review: Value = serde_json::from_slice(&body).expect("JSON");
        review["request"]["userInfo"]["uid"] = json!("uid-hidden");
        review["request"]["userInfo"]["extra"] =
            json!({"test/pod": ["pod-kept"], "example.com/note": ["extra-hidden"]});
        review.to_string().into_bytes()
    };
    let plain = json!({"type": "ClusterIP", "ports": [{"port": 80}]});
    let mut unknown = plain.clone();
    unknown["newField"] = json!("field-hidden");
    let recorded = Recorded::record(
        &[("witness", json!({}))],
        &["--config", directory(&config)],
        &[("/validate", review(plain)), ("/validate", review(unknown))],
    )
    .await;
    let log = std::fs::read_to_string(recorded.path("log")).expect("a log");
    for kept in ["owner-kept", "pod-kept"] {
        assert!(log.contains(kept), "{kept}: {log}");
    }
    for hidden in ["note-hidden", "uid-hidden", "extra-hidden", "field-hidden"] {
        assert!(!log.contains(hidden), "{hidden}: {log}");
    }
    let live = recorded.path("live");
    let arguments = [
        "--policies",
        directory(&live),
        "--config",
        directory(&config),
    ];
    let text = text(&recorded.replay(&arguments));
    let expected = "policy witness compares a hashed field: /request/object/spec/newField";
    assert!(
        text.contains(expected) && text.contains("1 the same") && text.contains("1 cannot be"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn users_are_hashed_unless_an_exemption_names_them() {
    let config = |user: &str| {
        json!({
            "apiVersion": "sallyport.dev/v1alpha1", "kind": "HostConfig", "metadata": {"name": "x"},
            "spec": {"exemptions": {"users": [user]}},
        })
        .to_string()
    };
    let recorded = Recorded {
        files: tempfile::tempdir().expect("a directory"),
    };
    put(recorded.files.path(), "recorded.yaml", &config("robot"));
    put(recorded.files.path(), "other.yaml", &config("jane"));
    let by = |user: &str| {
        let mut review: Value = serde_json::from_slice(&node_port(29999)).expect("JSON");
        review["request"]["userInfo"] =
            json!({"username": user, "groups": ["system:authenticated", "a-team"]});
        ("/validate", review.to_string().into_bytes())
    };
    let policies = recorded.policies("live", &[("nodeport-range", range(30000, 32767))]);
    let (was, other) = (recorded.path("recorded.yaml"), recorded.path("other.yaml"));
    recorded
        .record_from(
            &policies,
            &["--config", directory(&was)],
            &[by("robot"), by("jane")],
        )
        .await;
    let log = std::fs::read_to_string(recorded.path("log")).expect("a log");
    assert!(
        log.contains("robot") && !log.contains("jane") && !log.contains("a-team"),
        "{log}"
    );
    let replay = |config: &Path| {
        recorded.replay(&[
            "--policies",
            directory(&policies),
            "--config",
            directory(config),
        ])
    };
    assert_eq!(
        replay(&was).status.code(),
        Some(0),
        "{}",
        text(&replay(&was))
    );
    let text = text(&replay(&other));
    assert!(
        text.contains("an exemption compares a hashed field: /request/userInfo/"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn unreadable_lines_are_counted_and_the_rest_is_replayed() {
    let policies = [("nodeport-range", range(30000, 32767))];
    let recorded = Recorded::record(&policies, &[], &[("/validate", node_port(30500))]).await;
    let log = recorded.path("log");
    let whole = std::fs::read_to_string(&log).expect("a log");
    std::fs::write(&log, format!("half a line\n{whole}{{}}\n")).expect("written");
    let output = recorded.replay(&["--policies", directory(&recorded.path("live"))]);
    let text = text(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    for place in [
        format!("not read: {}:1: ", log.display()),
        format!("not read: {}:3: ", log.display()),
    ] {
        assert!(text.contains(&place), "{text}");
    }
    assert!(
        text.ends_with("1 the same; 2 lines can't be read\n"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_log_comes_on_standard_input_too() {
    let policies = [("nodeport-range", range(30000, 32767))];
    let recorded = Recorded::record(&policies, &[], &[("/validate", node_port(30500))]).await;
    let output = Command::new(&*crate::command_line::SALLYPORT)
        .args([
            "replay",
            "-",
            "--policies",
            directory(&recorded.path("live")),
        ])
        .stdin(Stdio::from(
            std::fs::File::open(recorded.path("log")).expect("a log"),
        ))
        .output()
        .expect("the program runs");
    assert!(text(&output).contains(": 1 the same"), "{}", text(&output));
}

#[test]
fn nothing_to_replay_and_broken_policies_are_failures() {
    let recorded = Recorded {
        files: tempfile::tempdir().expect("a directory"),
    };
    let sound = recorded.policies("sound", &[("nodeport-range", range(30000, 32767))]);
    std::fs::write(recorded.path("log"), "nonsense\n").expect("written");
    let output = recorded.replay(&["--policies", directory(&sound)]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output).contains("no recorded review in 1 file; "),
        "{}",
        text(&output)
    );
    let broken = recorded.policies(
        "broken",
        &[("nodeport-range", json!({"settings": {"rangs": []}}))],
    );
    let output = recorded.replay(&["--policies", directory(&broken)]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("spec.settings"), "{}", text(&output));
}
