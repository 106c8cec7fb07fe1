//! Recognises objects that look like Services and are none: a `kind` in another case, a missing or
//! wrong `apiVersion`.

use crate::yaml::Located;

const KINDS: [&str; 3] = ["service", "services", "svc"];
const TYPES: [&str; 4] = ["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"];

/// Returns true if the API server takes an object for a Service.
pub(super) fn is_service(object: &Located) -> bool {
    text(object, "apiVersion") == Some("v1") && text(object, "kind") == Some("Service")
}

/// Returns true if the API server takes an object for a Namespace.
pub(super) fn is_namespace(object: &Located) -> bool {
    text(object, "apiVersion") == Some("v1") && text(object, "kind") == Some("Namespace")
}

/// Returns the reason why an object that looks like a Service is none; `None` for other kinds.
pub(super) fn misnamed(object: &Located) -> Option<String> {
    let (version, kind) = (text(object, "apiVersion")?, text(object, "kind")?);
    let looks = match group(version) {
        Group::Other => false,
        Group::BuiltIn => named_like_service(kind, 0),
        Group::Core => named_like_service(kind, 2) || has_service_spec(object),
    };
    looks.then(|| {
        format!(
            "looks like a Service, but is apiVersion {version:?}, kind {kind:?}; write apiVersion: \
             v1 and kind: Service"
        )
    })
}

/// Returns true if a node that `kubectl` refuses may be meant as a Service or hold one.
pub(super) fn may_hold_service(node: &Located) -> bool {
    let lists = node
        .items()
        .iter()
        .chain(node.get("items").into_iter().flat_map(Located::items));
    let kind = node
        .entries()
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case("kind"));
    let named = match kind
        .and_then(|(_, kind)| kind.text())
        .filter(|kind| !kind.is_empty())
    {
        Some(kind) => {
            named_like_service(kind, 2)
                && text(node, "apiVersion").is_none_or(|version| group(version) != Group::Other)
        }
        None => has_service_spec(node),
    };
    named || lists.into_iter().any(may_hold_service)
}

#[derive(PartialEq, Eq)]
enum Group {
    /// `v1` and its misspellings.
    Core,
    /// Groups of Kubernetes itself, none of which has a Service.
    BuiltIn,
    /// Such as `serving.knative.dev`.
    Other,
}

fn group(version: &str) -> Group {
    match version.trim().split_once('/') {
        None => Group::Core,
        Some((group, _)) if ["", "core", "api"].contains(&group.trim().to_lowercase().as_str()) => {
            Group::Core
        }
        // The groups of custom resources are domains.
        Some((group, _))
            if !group.contains('.')
                || group.ends_with(".k8s.io") && !group.ends_with(".x-k8s.io") =>
        {
            Group::BuiltIn
        }
        Some(_) => Group::Other,
    }
}

/// Returns true if two texts are within a number of edits, ignoring case.
fn named_like_service(kind: &str, edits: usize) -> bool {
    let kind = kind.trim().to_lowercase();
    KINDS.contains(&kind.as_str())
        || edits > 0 && strsim::damerau_levenshtein(&kind, KINDS[0]) <= edits
}

/// Returns true for a spec with ports or with a Service type, which no other kind in core/v1 has.
fn has_service_spec(object: &Located) -> bool {
    let Some(spec) = object.get("spec") else {
        return false;
    };
    let ports = spec.get("ports").into_iter().flat_map(Located::items);
    ports.into_iter().any(|port| port.get("port").is_some())
        || spec
            .get("type")
            .and_then(Located::text)
            .is_some_and(|kind| TYPES.contains(&kind))
}

fn text<'a>(object: &'a Located, key: &str) -> Option<&'a str> {
    object.get(key).and_then(Located::text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    fn problem(version: &str, kind: &str) -> Option<String> {
        let text = format!("apiVersion: {version:?}\nkind: {kind:?}\n");
        misnamed(&yaml::located_documents(&text).expect("valid")[0])
    }

    #[test]
    fn misspelt_services_are_no_other_objects() {
        for (version, kind) in [
            ("v1", "service"),
            ("v1", "SERVICE"),
            ("v1", "Service "),
            ("v1", "Serivce"),
            ("v1", "svc"),
            ("v1 ", "Service"),
            ("V1", "Service"),
            ("core/v1", "Service"),
            ("/v1", "Service"),
            ("v2", "Service"),
            ("apps/v1", "Service"),
            ("networking.k8s.io/v1", "Service"),
        ] {
            assert!(problem(version, kind).is_some(), "{version} {kind}");
        }
    }

    #[test]
    fn other_kinds_are_other_objects() {
        for (version, kind) in [
            ("serving.knative.dev/v1", "Service"),
            ("apps/v1", "Deployment"),
            ("v1", "Secret"),
            ("v1", "ServiceAccount"),
            ("v1", "Endpoints"),
            ("networking.istio.io/v1", "ServiceEntry"),
            ("multicluster.x-k8s.io/v1alpha1", "ServiceImport"),
            ("discovery.k8s.io/v1", "EndpointSlice"),
            ("batch/v1", "Job"),
            ("example.com/v1", "service"),
        ] {
            assert_eq!(problem(version, kind), None);
        }
    }

    #[test]
    fn what_kubectl_refuses_may_hold_a_service() {
        for (text, expected) in [
            ("kind: Service", true),
            ("Kind: service", true),
            ("spec: {ports: [{port: 80}]}", true),
            ("spec: {type: NodePort}", true),
            ("[{kind: Service}]", true),
            ("items: [{kind: Service, apiVersion: v1}]", true),
            ("kind: Kustomization", false),
            ("service: {type: NodePort}", false),
            ("spec: {type: Recreate}", false),
            ("[1, 2]", false),
            ("text", false),
        ] {
            let document = &yaml::located_documents(text).expect("valid")[0];
            assert_eq!(may_hold_service(document), expected, "{text}");
        }
    }
}
