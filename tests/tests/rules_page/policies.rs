//! The sections of the policies, one each.

use super::fixtures::{FixtureResults, HOST};
use super::{cell, root};
use sallyport::engine::{Engine, EngineConfig};
use sallyport::evaluator;
use sallyport_core::policy::Inspection;
use sallyport_core::report::inspection::kind;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

const HOST_SECTION: &str = "\
## The host

This section applies to all policies. The `HostConfig` (`--config`) says who is exempt:

| `spec.exemptions` | what it exempts |
|---|---|
| built in | CONNECT; DELETE, unless a policy judges deletions, and then still by the namespace \
    controller, the garbage collector and `system:kube-controller-manager`, of a Service in \
    deletion, and in a namespace that is in deletion or unknown to the host; objects that are not \
    core/v1 Services; `default/kubernetes` when `system:apiserver` writes it; an update of a \
    Service in deletion that keeps spec, labels and annotations and adds nothing to \
    `status.loadBalancer` |
| `namespaces` | namespaces by exact name; `kube-system`, `kube-public` and `kube-node-lease` \
    unless you list others |
| `services` | Services by `namespace/name`, where `*` stands for any characters in either \
    part. A Service whose name is not generated yet has none |
| `users`, `groups`, `serviceAccounts` | requests of these, compared exactly; service accounts \
    as `namespace/name` |
| `breakGlass` | who may excuse a request: `users`, `groups`, `serviceAccounts`; `annotation` \
    (`sallyport.dev/break-glass`) and `maxDuration` (`72h`, from `1m` to `720h`) |

Break-glass is an annotation that says when it ends and why, such as `\"2026-01-01T12:00:00Z; \
    the reason\"`. When somebody who may use it sets
it, it excuses the violations of that request. The request is not patched, the client is \
    warned, and the API server's audit log has the
reason. In later updates by others that leave it unchanged, it excuses what the old object has \
    too, and nothing new. An annotation that is
expired, malformed or too far ahead grants nothing, and does not deny by itself. Nobody else \
    may set or change it; anybody may remove it.
Under `updates: Ratchet` its end does not affect existing violations: an update may keep what \
    the old object has.

`spec.inventory` says what policies may know about the cluster. What it does not say is unknown \
    to them:

| `spec.inventory` | what it is |
|---|---|
| `cluster.environment` | `cloud` or `onPrem`: whether a controller serves LoadBalancer \
    Services without a class. It takes precedence over the Nodes |
| `cluster.nodePorts` | `{ from: 30000, to: 32767 }`: `--service-node-port-range` of the API \
    server |
| `cluster.nodes` | `[{ name: node-1, providerID: \"aws:///eu-central-1a/i-0abc\" }]`, and \
    `taints` |
| `namespaces` | their labels, by name: `{ team-a: { labels: { tier: frontend } } }`; \
    `terminating: true` for one in deletion |
| `pods` | labels and ports of Pods, which selectors are compared with |

Each policy has these fields in its `ServicePolicy`:

| `spec` | what it means |
|---|---|
| `mode` | `Enforce` denies (and patches), `Warn` warns the client, `Audit` writes to the API \
    server's audit log |
| `failurePolicy` | `Fail` or `Ignore`: in mode Enforce, whether a request is denied if the \
    policy gives no verdict |
| `reason` | `Forbidden` (HTTP 403), `Invalid` (422) or \
    `RequestEntityTooLarge` (413): the reason of a denial, for programs. That of the first \
    violation counts |
| `updates` | `Ratchet`: an update may keep what the old object violates, by rule and key, with \
    a warning. `Always`: updates are judged like creates |
| `match` | `namespaceSelector`, `excludeNamespaces`. Services can't be selected by label, \
    because whoever writes a Service writes its labels |
| `exemptions` | requests that this policy alone is not asked about: `services`, `users`, \
    `groups`, `serviceAccounts`, as in the HostConfig. The audit log and \
    `sallyport_policy_exemptions_total` name them |
| `limits` | `deadline`, `memory` and `output` of one evaluation \
    ([engine.md](engine.md#what-one-evaluation-may-use)) |

- **S16**: an object that does not decode as a core/v1 Service, or is larger than any Service, \
    is refused with the field path if a policy in mode Enforce matches.
- **BreakGlass**: only those who may use the annotation may set it.

";

pub(super) fn write(page: &mut String, fixtures: &BTreeMap<String, FixtureResults>) {
    let policies = inspect();
    index(page, &policies);
    for policy in &policies {
        let name = &policy.name;
        let documentation = policy
            .documentation
            .as_deref()
            .unwrap_or_else(|| panic!("{name} has no documentation"));
        let _ = write!(page, "## {name}\n\n{}\n\n", bold(documentation));
        let _ = writeln!(page, "{}.\n", asked(policy));
        settings(page, policy);
        let results = fixtures
            .get(name)
            .unwrap_or_else(|| panic!("no fixtures for {name}"));
        check_rules(documentation, name, results);
        messages(page, name, results);
        cases(page, results);
    }
    page.push_str(HOST_SECTION);
    let results = &fixtures[HOST];
    messages(page, HOST, results);
    cases(page, results);
}

fn inspect() -> Vec<Inspection> {
    let engine = Engine::new(&EngineConfig {
        concurrency: 1,
        cache: Some(sallyport_tests::compiled()),
        ..EngineConfig::default()
    })
    .expect("an engine");
    let mut folders: Vec<_> = std::fs::read_dir(root().join("policies"))
        .expect("policies/")
        .map(|entry| entry.expect("an entry").path())
        .filter(|folder| folder.join("Cargo.toml").is_file())
        .collect();
    folders.sort();
    let inspect = |folder: std::path::PathBuf| {
        let name = folder
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .replace('-', "_");
        let file = root().join(format!("target/policies/{name}.wasm"));
        let component =
            std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        evaluator::inspect(&engine, &component).unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    folders.into_iter().map(inspect).collect()
}

/// Writes the index of all rules with their policies.
fn index(page: &mut String, policies: &[Inspection]) {
    let mut rows = vec![(
        "S16",
        "the host",
        "an object that does not decode as a core/v1 Service, or is larger than any Service, is \
         refused.",
    )];
    for policy in policies {
        rows.extend(
            rules(policy.documentation.as_deref().unwrap_or_default())
                .map(|(id, text)| (id, policy.name.as_str(), text)),
        );
    }
    rows.sort_by_key(|(id, _, _)| {
        (
            id.starts_with('M'),
            id[1..].parse::<u32>().unwrap_or_default(),
        )
    });
    page.push_str("| rule | policy | what it says |\n|---|---|---|\n");
    for (id, policy, text) in rows {
        let _ = writeln!(
            page,
            "| {id} | [{policy}](#{}) | {} |",
            policy.replace(' ', "-"),
            cell(text)
        );
    }
    page.push('\n');
}

/// Returns the rules of a world's doc comment, from lines such as `- S04: a load balancer …`.
fn rules(documentation: &str) -> impl Iterator<Item = (&str, &str)> {
    documentation
        .lines()
        .filter_map(|line| line.strip_prefix("- ")?.split_once(": "))
}

/// Checks that a component documents every rule that it reports.
fn check_rules(documentation: &str, name: &str, results: &FixtureResults) {
    let documented: BTreeSet<_> = rules(documentation).map(|(id, _)| id).collect();
    for rule in results
        .messages
        .keys()
        .filter(|rule| *rule != "warnings" && *rule != "S16")
    {
        assert!(
            documented.contains(rule.as_str()),
            "{name} reports {rule}, which its world's doc comment doesn't list"
        );
    }
}

fn bold(documentation: &str) -> String {
    let line = |line: &str| match line
        .strip_prefix("- ")
        .and_then(|rest| rest.split_once(": "))
    {
        Some((id, text)) => format!("- **{id}**: {text}"),
        None => line.to_owned(),
    };
    documentation
        .lines()
        .map(line)
        .collect::<Vec<_>>()
        .join("\n")
}

fn asked(policy: &Inspection) -> String {
    let context = if policy.context.is_empty() {
        "It needs no context".to_owned()
    } else {
        format!("It needs this context: {}", policy.context.join(", "))
    };
    let about = if policy.about.is_empty() {
        "It concerns every Service".to_owned()
    } else {
        format!("It concerns Services with: {}", policy.about.join(", "))
    };
    format!(
        "With the default settings it is asked about {} of {}, {}. {about}. {context}",
        policy.operations.join(" and "),
        policy.resources.join(" and "),
        policy.phases.join(" and ")
    )
}

fn settings(page: &mut String, policy: &Inspection) {
    let Some(schema) = &policy.settings else {
        page.push_str("It has no settings.\n\n");
        return;
    };
    page.push_str("| setting | type | default | meaning |\n|---|---|---|---|\n");
    rows(page, schema, "");
    page.push('\n');
}

fn rows(page: &mut String, schema: &Value, prefix: &str) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{prefix}{name}");
        let description = property["description"].as_str().unwrap_or_default();
        let default = property.get("default").map_or_else(String::new, default);
        let _ = writeln!(
            page,
            "| `{path}` | {} | {default} | {} |",
            cell(&kind(property)),
            cell(description)
        );
        rows(page, property, &format!("{path}."));
        rows(page, &property["items"], &format!("{path}[]."));
    }
}

/// Formats a default. A list of half a hundred names is given by its length; the tables below hold
/// the names.
fn default(value: &Value) -> String {
    const SHOWN: usize = 80;
    let text = value.to_string();
    match value {
        _ if text.len() <= SHOWN => format!("`{}`", cell(&text)),
        Value::Array(items) => format!("{} entries, see below", items.len()),
        Value::Object(members) => format!("{} keys, see below", members.len()),
        _ => cell(&text),
    }
}

fn messages(page: &mut String, name: &str, results: &FixtureResults) {
    let shown = if name == HOST { "" } else { name };
    page.push_str("```text\n");
    for message in results.messages.values().flatten() {
        let prefix = if shown.is_empty() {
            String::new()
        } else {
            format!("[{shown}] ")
        };
        let _ = writeln!(page, "{prefix}{message}");
    }
    page.push_str("```\n\n");
}

fn cases(page: &mut String, results: &FixtureResults) {
    let ids: Vec<_> = results
        .cases
        .iter()
        .map(|(group, number)| format!("{group}{number}"))
        .collect();
    let _ = writeln!(page, "Cases covered: {}.\n", ids.join(" "));
}
