//! Formats, and the texts that people read.

use super::{Case, LOAD_BALANCER, NODE_PORT, RANGE, SELECTED, service};
use crate::client::PROTOCOLS;
use crate::command_line::sallyport;
use crate::host::{body, root};
use crate::program::{Program, message};
use serde_json::{Value, json};

#[test]
fn no_format_prints_a_deceptive_character_and_json_has_the_value() {
    let text = "apiVersion: v1\nkind: Service\nmetadata: {name: \"a\\u001b\\u202eb\"}\nspec: \
                {ports: [{port: 80}]}\n";
    let case = Case::policy("service-type", "").file("odd.yaml", text);
    for format in ["text", "json", "sarif", "github", "gitlab"] {
        let output = case.run(&["odd.yaml", "--output", format]);
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            !shown.contains(['\u{1b}', '\u{202e}']) && shown.contains("202e"),
            "{format}: {shown}"
        );
    }
    let (report, _) = case.report(&["odd.yaml"]);
    let service = &report["subjects"][0]["service"];
    assert_eq!(service, "default/a\u{1b}\u{202e}b");
}

#[test]
fn long_texts_and_long_lists_are_cut_for_people() {
    let name = "n".repeat(20_000);
    let ports: Vec<_> = (0..2000).map(|port| format!("{{port: {port}}}")).collect();
    let spec = format!("{{ports: [{}]}}", ports.join(", "));
    let case = Case::policy("service-type", "")
        .file("name.yaml", &service(&name, "{ports: [{port: 80}]}"))
        .file("ports.yaml", &service("w", &spec));
    let shown = |arguments: &[&str]| case.run(arguments).stdout;
    assert!(shown(&["name.yaml", "--output", "text"]).len() < 4000);
    let ports = shown(&["ports.yaml", "--output", "text"]);
    assert!(ports.iter().filter(|byte| **byte == b'\n').count() < 110);
    let (report, _) = case.report(&["ports.yaml"]);
    let findings = report["subjects"][0]["findings"].as_array();
    assert!(findings.is_some_and(|findings| findings.len() >= 2000));
}

#[test]
fn a_denial_by_a_default_names_the_default_and_the_flag() {
    let case = Case::policy("loadbalancer-cloud-only", "")
        .and(RANGE, "")
        .file(
            "s.yaml",
            &service(
                "w",
                &LOAD_BALANCER.replace("port: 80", "port: 80, nodePort: 1"),
            ),
        )
        .file(
            "host.yaml",
            "apiVersion: sallyport.dev/v1alpha1\nkind: HostConfig\nspec: { \
            inventory: { cluster: { environment: onPrem } } }",
        );
    let output = case.run(&["s.yaml"]);
    let note = String::from_utf8_lossy(&output.stderr);
    assert!(
        note.contains("no --config") && note.contains("environment onPrem"),
        "{note}"
    );
    let fix = |arguments: &[&str], rule: &str| {
        let (findings, _) = case.findings(arguments);
        let finding = findings
            .into_iter()
            .find(|finding| finding["rule"] == rule)
            .expect("a finding");
        finding["fix"].as_str().expect("a text").to_owned()
    };
    assert!(
        fix(&["s.yaml"], "S03")
            .contains("environment onPrem is the built-in default without --config")
    );
    assert!(
        !fix(&["s.yaml"], "S02").contains("--config"),
        "a node port has nothing to do with it"
    );
    assert!(!fix(&["s.yaml", "--config", "host.yaml"], "S03").contains("--config"));
}

#[test]
fn a_warning_has_its_field_and_its_line() {
    let spec = "\n  type: LoadBalancer\n  selector: { app: a }\n  loadBalancerIP: \
        192.0.2.1\n  ports:\n  - port: 9090\n";
    let case = Case::policy("loadbalancer-exposure", "")
        .and("clusterip-internal", "")
        .file("s.yaml", &service("w", spec));
    let (findings, _) = case.findings(&["s.yaml"]);
    let place = |finding: &Value| (finding["field"].clone(), finding["line"].clone());
    let places: Vec<_> = findings
        .iter()
        .filter(|finding| finding["level"] == "warning")
        .map(place)
        .collect();
    assert!(
        places.contains(&(json!("spec.loadBalancerIP"), json!(7))),
        "{findings:#?}"
    );
    assert!(
        !places.iter().any(|(field, _)| field == ""),
        "{findings:#?}"
    );
}

#[test]
fn sarif_rules_say_what_they_are_and_warnings_have_their_own() {
    let services = [
        service("a", NODE_PORT),
        service(
            "b",
            &LOAD_BALANCER.replace("selector", "loadBalancerIP: 192.0.2.1, selector"),
        ),
    ];
    let case = Case::policy("loadbalancer-exposure", "")
        .and(RANGE, SELECTED)
        .file("s.yaml", &services.join("---\n"));
    let output = case.run(&["s.yaml", "-o", "sarif"]);
    let sarif: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let rules = sarif["runs"][0]["tool"]["driver"]["rules"]
        .as_array()
        .expect("a list");
    for rule in rules {
        assert!(
            rule["shortDescription"]["text"]
                .as_str()
                .is_some_and(|text| text.len() > 10),
            "{rule}"
        );
        assert!(
            rule["helpUri"]
                .as_str()
                .is_some_and(|uri| uri.starts_with("https://")),
            "{rule}"
        );
    }
    let ids: Vec<_> = rules
        .iter()
        .filter_map(|rule| rule["id"].as_str())
        .collect();
    assert_eq!(
        ids,
        ["S02", "loadbalancer-exposure/warning", "namespace-labels"]
    );
}

#[test]
fn annotations_of_unreadable_files_have_a_title_and_the_line() {
    let case = Case::policy(RANGE, "")
        .file("bad.yaml", "a: 1\nb: [\n")
        .file("text.yaml", "just a text\n");
    let output = case.run(&[
        "./bad.yaml",
        "./text.yaml",
        "gone.yaml",
        "--output",
        "github",
    ]);
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stdout);
    for (line, expected) in text.lines().zip([
        "::error file=bad.yaml,line=",
        "::error file=text.yaml,line=1,title=sallyport::",
        "::error file=gone.yaml,line=1,title=sallyport::",
    ]) {
        assert!(
            line.starts_with(expected) && line.contains("title=sallyport::"),
            "{text}"
        );
    }
    assert!(!text.contains("bad.yaml,line=1,"), "{text}");
}

#[test]
fn annotations_leave_the_summary_to_standard_error() {
    let good = NODE_PORT.replace("port: 80", "port: 80, nodePort: 30080");
    let case = Case::policy(RANGE, "").file("s.yaml", &service("good", &good));
    let output = case.run(&["s.yaml", "--output", "github"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout.is_empty(), "{output:?}");
    let summary = "1 Service, 1 of 1 policy asked: 0 denied, 0 with warnings, 0 with errors; 0 \
        other objects ignored\n";
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.ends_with(summary), "{text}");
    let quiet = case.run(&["s.yaml", "--output", "github", "--quiet"]);
    assert!(quiet.stderr.is_empty(), "{quiet:?}");
    let json = case.run(&["s.yaml", "--output", "sarif"]);
    let text = String::from_utf8_lossy(&json.stderr);
    assert!(!text.contains("1 Service"), "{text}");
}

#[test]
fn quiet_shows_what_is_wrong_and_verbose_what_passes_too() {
    let services = [
        service("bad", NODE_PORT),
        service(
            "good",
            &NODE_PORT.replace("port: 80", "port: 80, nodePort: 30080"),
        ),
    ];
    let case = Case::policy(RANGE, "  settings: { autoAssigned: deny }")
        .file("s.yaml", &services.join("---\n"));
    let text =
        |flag: &str| String::from_utf8_lossy(&case.run(&["s.yaml", flag]).stdout).into_owned();
    let quiet = text("-q");
    assert!(
        quiet.starts_with("DENY shop/bad (s.yaml:1)\n") && quiet.lines().count() == 2,
        "{quiet}"
    );
    let verbose = text("-v");
    assert!(
        verbose.contains("PASS shop/good (s.yaml:6)\n     asked: nodeport-range\n"),
        "{verbose}"
    );
    let summary = "2 Services, 1 of 1 policy asked: 1 denied, 0 with warnings, 0 with errors; 0 \
        other objects ignored\n";
    assert!(verbose.ends_with(summary), "{verbose}");
}

#[test]
fn every_command_names_the_text_format_alike() {
    let service = "docs/examples/my-clusterip-service.yaml";
    let config = "deploy/base/config.yaml";
    for arguments in [
        &["check", service][..],
        &["explain", service],
        &["lint", config],
        &["doctor", "deploy/base/webhooks.yaml"],
        &["inspect", "target/policies/nodeport_range.wasm"],
        &["test", "tests/fixtures/selectorless"],
    ] {
        let outputs = ["text", "human"].map(|word| sallyport(&[arguments, &["-o", word]].concat()));
        assert!(
            outputs.iter().all(|output| output.status.code() != Some(2)),
            "{arguments:?}: {outputs:?}"
        );
        assert_eq!(outputs[0].stdout, outputs[1].stdout);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn the_default_configuration_is_named_at_start_and_in_denials() {
    let host = Program::serve(&root().join("target/policies"), &[]);
    let log = host.log();
    assert!(
        log.contains("no --config, so the built-in default holds: environment onPrem"),
        "{log}"
    );
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"type": "LoadBalancer", "selector": {"app": "a"},
            "ports": [{"port": 80, "protocol": "TCP"}]},
    });
    let reply = host
        .client
        .post(
            PROTOCOLS[0],
            "/validate",
            body("CREATE", &service, &Value::Null),
        )
        .await;
    let denial = message(&reply.json());
    assert!(
        denial.contains("environment onPrem is the built-in default without --config"),
        "{denial}"
    );
}

/// The program is `sallyport` for those who installed it, `target/debug/sallyport` for others.
#[test]
fn pages_show_what_check_explain_and_replay_print() {
    for (page, least) in [("README.md", 1), ("docs/quick-start.md", 4)] {
        let text = std::fs::read_to_string(root().join(page)).expect("it is there");
        let mut shown = 0;
        for block in text
            .split("```console\n")
            .skip(1)
            .filter_map(|rest| rest.split("```").next())
        {
            for command in block.split("$ ").skip(1) {
                let (line, expected) = command.split_once('\n').expect("a line");
                let line = line.strip_prefix("target/debug/").unwrap_or(line);
                let Some(arguments) = line.strip_prefix("sallyport ") else {
                    continue;
                };
                let arguments: Vec<_> = arguments.split_whitespace().collect();
                if !expected.is_empty() && matches!(arguments[0], "check" | "explain" | "replay") {
                    let output = sallyport(&arguments);
                    assert_eq!(
                        String::from_utf8_lossy(&output.stdout).trim(),
                        expected.trim(),
                        "{page}: {line}"
                    );
                    shown += 1;
                }
            }
        }
        assert!(shown >= least, "{page} shows {shown} commands");
    }
}
