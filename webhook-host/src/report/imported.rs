//! Prints what `import` made of Kubernetes' policies: manifests with their differences as comments,
//! and the same differences as lines for people.

use super::registration::comment;
use crate::import::{Finding, Import};
use sallyport_core::manifest::Exemptions;
use sallyport_core::printable::printable;
use sallyport_core::report::{counted, counted_as};
use serde_json::json;

/// Prints the manifests as YAML documents, each under its source and its differences.
///
/// # Panics
///
/// Never: every manifest has a YAML form.
pub fn yaml(import: &Import) -> String {
    let mut text = comment(&["Made by `sallyport import vap`.".to_owned(), exemptions()]);
    for policy in &import.policies {
        let findings = policy.findings.iter().map(line);
        let remarks: Vec<String> = std::iter::once(policy.source.clone())
            .chain(findings)
            .collect();
        text.push_str("---\n");
        text.push_str(&comment(&remarks));
        let manifest = serde_saphyr::to_string(&policy.manifest);
        text.push_str(&manifest.expect("a manifest has a YAML form"));
    }
    text
}

/// Prints the manifests as a List in JSON.
pub fn json(import: &Import) -> String {
    let items: Vec<_> = import
        .policies
        .iter()
        .map(|policy| &policy.manifest)
        .collect();
    format!(
        "{:#}\n",
        json!({"apiVersion": "v1", "kind": "List", "items": items})
    )
}

/// Returns lines for people: what was not imported, the differences, and a summary.
pub fn lines(import: &Import) -> Vec<String> {
    let mut lines = vec![];
    for refused in &import.refused {
        for finding in &refused.findings {
            lines.push(format!(
                "not imported: {}: {}",
                refused.source,
                place(finding)
            ));
        }
    }
    // Several manifests may come from one source, and have the same differences.
    let mut before = None;
    for policy in &import.policies {
        if before == Some(&policy.source) {
            continue;
        }
        before = Some(&policy.source);
        for finding in &policy.findings {
            lines.push(format!("{}: {}", policy.source, line(finding)));
        }
    }
    for source in &import.unrelated {
        lines.push(format!("passed over: {source}: not about Services"));
    }
    if !import.policies.is_empty() {
        lines.push(format!("note: {}", exemptions()));
    }
    lines.push(summary(import));
    lines
        .iter()
        .map(|line| printable(line).to_string())
        .collect()
}

fn summary(import: &Import) -> String {
    let mut parts = vec![format!(
        "{} made",
        counted_as(import.policies.len(), "ServicePolicy", "ServicePolicies")
    )];
    for (count, what) in [
        (import.refused.len(), "not imported"),
        (import.unrelated.len(), "not about Services"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    if import.ignored > 0 {
        parts.push(format!(
            "{} passed over",
            counted(import.ignored, "other object")
        ));
    }
    parts.join(", ")
}

fn line(finding: &Finding) -> String {
    let word = if finding.is_lost {
        "no counterpart"
    } else {
        "note"
    };
    format!("{word}: {}", place(finding))
}

fn place(finding: &Finding) -> String {
    match finding.path.as_str() {
        "" => finding.text.clone(),
        path => format!("{path}: {}", finding.text),
    }
}

/// Says which requests no policy is asked about, unlike those of Kubernetes.
fn exemptions() -> String {
    let exempt = Exemptions::default().namespaces;
    let namespaces: Vec<&str> = exempt.iter().map(|namespace| namespace.as_str()).collect();
    format!(
        "Unlike the API server, a host asks no policy about Services in the exempt namespaces (by \
         default {}), about default/kubernetes as the API server writes it, and about what \
         finalizers do to a Service that is being deleted.",
        namespaces.join(", ")
    )
}
