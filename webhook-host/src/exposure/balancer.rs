//! The reach of a load balancer: certainly internal, certainly public, or not certain.
//!
//! Decided as rule S04 decides it: by the controllers that serve the Service on the Nodes of this
//! cluster, each with its own annotations. Where no Node is known, a class may still name its
//! controllers.

use super::door::Opens;
use sallyport_core::excerpt::excerpt;
use sallyport_facts::Controller;
use sallyport_facts::internal::{self, CONTROLLERS, Public, Switch};
use sallyport_facts::nodes;
use sallyport_facts::reads::Reading;
use sallyport_facts::voids::{BESIDE, Voided, Voiding, voiding};
use sallyport_policy::review::ProviderId;
use sallyport_policy::service::Service;

/// How far a load balancer opens, and the reason.
pub(super) struct Balancer {
    pub(super) opens: Opens,
    pub(super) reason: String,
    /// The annotation that decides, if one does.
    pub(super) annotation: Option<String>,
}

/// Judges a load balancer on Nodes with these providerIDs.
pub(super) fn balancer(service: &Service, providers: &[ProviderId]) -> Balancer {
    let voided = BESIDE
        .iter()
        .find_map(|by| voiding(service, None, Voided::Internal, by).next());
    if let Some(voiding) = voided {
        return uncertain(void(&voiding), Some(voiding.row.key));
    }
    let controllers = match serving(service, providers) {
        Ok(controllers) => controllers,
        Err(reason) => return elsewhere(service, reason),
    };
    for controller in &controllers {
        if let Some(public) = controller.reasons(service, None).first() {
            return reachable(controller, public);
        }
    }
    let Some(controller) = controllers.first() else {
        return elsewhere(service, "no Node is known");
    };
    let annotation = switch(controller, service);
    let by = annotation.map_or_else(
        || match &service.spec.load_balancer_class {
            Some(class) => format!("class {class}"),
            None => "its default".to_owned(),
        },
        |key| format!("annotation {key}"),
    );
    Balancer {
        opens: Opens::Internal,
        reason: format!("certainly internal by {by} ({})", controller.name),
        annotation: annotation.map(str::to_owned),
    }
}

/// Returns the controllers that serve a Service: one for each kind of Node, or those of its class.
pub(super) fn serving(
    service: &Service,
    providers: &[ProviderId],
) -> Result<Vec<&'static Controller>, &'static str> {
    let on = |provider: &ProviderId| {
        let infrastructure = nodes::provider(provider).unwrap_or_default();
        internal::on(infrastructure, service).ok_or("no controller is known for its Nodes")
    };
    if !providers.is_empty() {
        return providers.iter().map(on).collect();
    }
    let Some(class) = &service.spec.load_balancer_class else {
        return Err("the providers of its Nodes are not known");
    };
    let serves =
        |controller: &&Controller| controller.classes.iter().any(|known| known.name == class);
    let controllers: Vec<_> = CONTROLLERS.iter().filter(serves).collect();
    if controllers.is_empty() {
        return Err("no controller is known for its class");
    }
    Ok(controllers)
}

/// Judges a load balancer whose controller is not known: nothing is certain, but an annotation may
/// say what is meant, and another one may void it.
fn elsewhere(service: &Service, reason: &str) -> Balancer {
    let switched = CONTROLLERS
        .iter()
        .filter_map(|controller| Some((controller, switch(controller, service)?)));
    let (mut names, mut keys) = (vec![], vec![]);
    for (controller, key) in switched {
        let mut voids = voiding(service, None, Voided::Internal, controller.name);
        if let Some(voiding) = voids.next() {
            return uncertain(void(&voiding), Some(voiding.row.key));
        }
        names.push(controller.name);
        keys.push(key);
    }
    match keys.first() {
        Some(key) => uncertain(
            format!("internal for {} alone, and {reason}", names.join(" and ")),
            Some(key),
        ),
        None => uncertain(reason.to_owned(), None),
    }
}

fn reachable(controller: &Controller, public: &Public<'_>) -> Balancer {
    let name = controller.name;
    let (reason, annotation) = match public {
        Public::Voided(voiding) => (void(voiding), Some(voiding.row.key)),
        Public::Class { class, .. } => (
            format!("class {:?} is not served by {name}", excerpt(class)),
            None,
        ),
        Public::ExternalClass(class) => (format!("class {class} makes a public one"), None),
        Public::Value { key, found, .. } => (
            format!(
                "annotation {key}: {:?} is not internal for {name}",
                excerpt(found)
            ),
            Some(*key),
        ),
        Public::Missing { key, .. } => (format!("without annotation {key} ({name})"), None),
        Public::NoSwitch => (format!("{name} makes public ones only"), None),
    };
    if public.is_certain() {
        Balancer {
            opens: Opens::Public,
            reason: format!("public: {reason}"),
            annotation: annotation.map(str::to_owned),
        }
    } else {
        uncertain(reason, annotation)
    }
}

fn uncertain(reason: String, annotation: Option<&str>) -> Balancer {
    Balancer {
        opens: Opens::PerhapsPublic,
        reason: format!("not certainly internal: {reason}"),
        annotation: annotation.map(str::to_owned),
    }
}

/// Returns what an annotation voids, such as `annotation a.b/c: "true" adds public addresses`.
pub(super) fn void(voiding: &Voiding<'_>) -> String {
    let (key, why) = (voiding.row.key, voiding.row.cause.text());
    format!("annotation {key}: {:?} {why}", excerpt(voiding.found))
}

/// Returns the annotation by which a controller makes an internal load balancer of a Service.
fn switch(controller: &Controller, service: &Service) -> Option<&'static str> {
    let is_on = |switch: &&Switch| {
        service
            .annotation(switch.key)
            .is_some_and(|value| switch.reads.read(value) == Reading::Yes)
    };
    let switch = controller.switches(service).iter().find(is_on);
    switch.map(|switch| switch.key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sallyport_policy::testing::{labels, load_balancer};

    const SCHEME: &str = "service.beta.kubernetes.io/aws-load-balancer-scheme";
    const INTERNAL: &str = "service.beta.kubernetes.io/aws-load-balancer-internal";

    fn judged<const N: usize>(
        class: Option<&str>,
        annotations: [(&str, &str); N],
        nodes: &[&str],
    ) -> Balancer {
        let mut service = load_balancer("w", 80);
        service.spec.load_balancer_class = class.map(str::to_owned);
        service.metadata.annotations = labels(annotations);
        let nodes: Vec<_> = nodes
            .iter()
            .map(|scheme| ProviderId::Scheme((*scheme).to_owned()))
            .collect();
        balancer(&service, &nodes)
    }

    #[test]
    fn the_controller_of_the_nodes_decides_by_its_own_annotation() {
        let found = judged(None, [(INTERNAL, "true")], &["aws"]);
        assert_eq!(found.opens, Opens::Internal);
        assert_eq!(found.annotation.as_deref(), Some(INTERNAL));
        assert_eq!(
            found.reason,
            format!("certainly internal by annotation {INTERNAL} (aws-ccm)")
        );
        assert_eq!(judged(None, [], &["aws"]).opens, Opens::Public);
        assert_eq!(
            judged(None, [(SCHEME, "internal")], &["aws"]).opens,
            Opens::Public,
            "the cloud provider does not read it"
        );
    }

    #[test]
    fn nothing_is_certain_where_the_controller_is_not_known() {
        let meant = judged(None, [(INTERNAL, "true")], &[]);
        assert_eq!(meant.opens, Opens::PerhapsPublic);
        assert_eq!(meant.annotation.as_deref(), Some(INTERNAL));
        assert!(
            meant.reason.contains("internal for aws-"),
            "{}",
            meant.reason
        );
        let bare = judged(None, [], &["metal3"]);
        assert_eq!(bare.opens, Opens::PerhapsPublic);
        let mixed = judged(None, [(INTERNAL, "true")], &["aws", "metal3"]);
        assert_eq!(mixed.opens, Opens::PerhapsPublic);
    }

    #[test]
    fn a_class_names_its_controller_where_no_node_is_known() {
        let class = Some("service.k8s.aws/nlb");
        let internal = judged(class, [(SCHEME, "internal")], &[]);
        assert_eq!(internal.opens, Opens::Internal);
        let unknown = judged(Some("example.com/own"), [], &[]);
        assert_eq!(unknown.opens, Opens::PerhapsPublic);
    }
}
