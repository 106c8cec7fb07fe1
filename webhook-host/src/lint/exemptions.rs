//! Findings about a HostConfig's exemptions: those that exempt far more than it seems, and
//! important ones that are missing.

use super::finding;
use sallyport_core::manifest::{BreakGlass, Exemptions, HostConfigSpec};
use sallyport_core::report::check::{Finding, Level};
use sallyport_core::yaml::Located;
use std::time::Duration;

/// A namespace without which a cluster does not recover.
const VITAL: &str = "kube-system";

/// The longest break-glass period that counts as an emergency.
const MAX_EMERGENCY: Duration = Duration::from_secs(7 * 24 * 3600);

/// Returns findings about what is allowed and rarely intended.
pub(super) fn findings(document: &Located, spec: &HostConfigSpec) -> Vec<Finding> {
    let mut findings = vec![];
    let Exemptions {
        namespaces,
        services,
        users,
        groups,
        break_glass,
        ..
    } = &spec.exemptions;
    let warn = |field: String, message: String, fix: &str| {
        finding(Level::Warning, document, &field, message, fix)
    };
    if !namespaces
        .iter()
        .any(|namespace| namespace.as_str() == VITAL)
    {
        let message =
            format!("{VITAL} is not exempt: a policy can stop what the cluster needs to come back");
        findings.push(warn(
            "spec.exemptions.namespaces".to_owned(),
            message,
            "add it, unless it is judged on purpose",
        ));
    }
    for (index, namespace) in namespaces
        .iter()
        .enumerate()
        .filter(|(_, namespace)| namespace.as_str() == "default")
    {
        let message = format!(
            "{:?} is where everything lands that names no namespace",
            namespace.as_str()
        );
        let fix = "exempt Services or users instead";
        findings.push(warn(
            format!("spec.exemptions.namespaces[{index}]"),
            message,
            fix,
        ));
    }
    for (index, pattern) in services.iter().enumerate() {
        let written = pattern.to_string();
        if pattern.is_of_any_namespace() {
            let message =
                format!("{written:?}: whoever may create Services anywhere can take such a name");
            findings.push(warn(
                format!("spec.exemptions.services[{index}]"),
                message,
                "name the namespace",
            ));
        }
    }
    for (index, user) in users
        .iter()
        .enumerate()
        .filter(|(_, user)| user.as_str().starts_with("system:serviceaccount:"))
    {
        let message = format!("{:?} is a service account", user.as_str());
        let fix = "write it among serviceAccounts, as namespace/name";
        findings.push(finding(
            Level::Note,
            document,
            &format!("spec.exemptions.users[{index}]"),
            message,
            fix,
        ));
    }
    for (index, group) in groups.iter().enumerate() {
        findings.extend(group_finding(document, index, group.as_str()));
    }
    findings.extend(
        break_glass
            .as_ref()
            .and_then(|break_glass| break_glass_finding(document, break_glass)),
    );
    findings
}

fn group_finding(document: &Located, index: usize, group: &str) -> Option<Finding> {
    let (message, fix) = match group {
        "system:masters" => (
            "\"system:masters\" is every administrator, and many a controller".to_owned(),
            "use breakGlass for people",
        ),
        _ if group.starts_with("system:serviceaccounts:") => (
            format!("{group:?} is every service account of a namespace, those to come included"),
            "name serviceAccounts",
        ),
        _ => return None,
    };
    Some(finding(
        Level::Warning,
        document,
        &format!("spec.exemptions.groups[{index}]"),
        message,
        fix,
    ))
}

fn break_glass_finding(document: &Located, break_glass: &BreakGlass) -> Option<Finding> {
    let message = format!("{} is no emergency any more", break_glass.max_duration);
    let fix = "allow some days at most; what must stay belongs among the exemptions";
    (break_glass.max_duration.duration() > MAX_EMERGENCY).then(|| {
        finding(
            Level::Warning,
            document,
            "spec.exemptions.breakGlass.maxDuration",
            message,
            fix,
        )
    })
}
