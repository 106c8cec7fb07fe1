//! S04: why a load balancer is not certainly an internal one.
//!
//! Every reason is told, each with a key of its own: an update may not add one to those that stand.
//! "Not certain" and "public" never share a key.

use super::LoadBalancerExposure;
use super::settings::{Extra, Settings};
use sallyport_facts::classes::{Class, Reach};
use sallyport_facts::internal::{self, CONTROLLERS, Controller, Public};
use sallyport_facts::nodes;
use sallyport_facts::voids::{BESIDE, Voided, Voiding, voiding};
use sallyport_policy::prelude::*;

/// The controllers that settings name.
pub(crate) fn controllers(
    settings: &Settings,
    errors: &mut Vec<SettingsError>,
) -> Vec<&'static Controller> {
    let mut controllers = vec![];
    for (i, name) in settings.providers.iter().enumerate() {
        match internal::by_name(name) {
            Some(controller) => controllers.push(controller),
            None => errors.push(SettingsError::new(format!("providers[{i}]"), unknown(name))),
        }
    }
    for (i, extra) in settings.extra.iter().enumerate() {
        let path = format!("extra[{i}].key");
        if extra.key.is_empty() {
            errors.push(SettingsError::new(path, "must not be empty; remove it"));
        } else {
            names::annotation(path, &extra.key, errors);
        }
    }
    names::classes("internalClasses", &settings.internal_classes, errors);
    for (i, class) in settings.internal_classes.iter().enumerate() {
        let is_external = |known: &Class| known.name == class && known.reach == Reach::External;
        let mut classes = CONTROLLERS.iter().flat_map(|controller| controller.classes);
        if classes.any(is_external) {
            let problem = format!("{} makes a public load balancer; remove it", quote(class));
            errors.push(SettingsError::new(format!("internalClasses[{i}]"), problem));
        }
    }
    controllers
}

impl LoadBalancerExposure {
    /// Every reason why a load balancer may be a public one.
    pub(crate) fn public(&self, review: &Review, service: &Service) -> Vec<Violation> {
        let old = review.old_service.as_ref();
        let mut found = vec![];
        for by in BESIDE {
            found.extend(
                voiding(service, old, Voided::Internal, by).map(|voiding| voided(by, &voiding)),
            );
        }
        let class = service.spec.load_balancer_class.as_ref();
        if class.is_some_and(|class| self.settings.internal_classes.contains(class)) {
            return found;
        }
        let is_extra = self.settings.extra.iter().any(|extra| has(service, extra));
        match self.controllers_for(review, service) {
            Ok(controllers) => {
                for controller in controllers {
                    let mut reasons = controller.reasons(service, old);
                    // The settings' own annotation or class stands in for the controller's switch;
                    // annotations that void the switch count all the same.
                    reasons.retain(|reason| !is_extra || matches!(reason, Public::Voided(_)));
                    found.extend(reasons.iter().map(|reason| explain(controller, reason)));
                }
            }
            Err(_) if is_extra => {}
            Err(why) => {
                let message =
                    format!("nothing makes the load balancer internal for certain: {why}");
                let fix = "ask for the policy's providers or internalClasses to be set, or use \
                    type ClusterIP";
                found.push(
                    Violation::new("S04", TYPE, message)
                        .key(format!("{NOT_CERTAIN}?"))
                        .fix(fix),
                );
            }
        }
        found
    }

    /// Returns the controllers that may serve the Service: those that the settings name, or one for
    /// each kind of Node.
    pub(crate) fn controllers_for(
        &self,
        review: &Review,
        service: &Service,
    ) -> Result<Vec<&'static Controller>, String> {
        if !self.controllers.is_empty() {
            return Ok(self.controllers.clone());
        }
        let mut controllers = vec![];
        for provider in &review.cluster.providers {
            let infrastructure = nodes::provider(&provider.id).unwrap_or_default();
            match internal::on(infrastructure, service) {
                Some(controller) => controllers.push(controller),
                None if infrastructure.is_empty() => {
                    return Err("a Node has no providerID".to_owned());
                }
                None => {
                    return Err(format!(
                        "no switch is known for Nodes of {}",
                        quote(infrastructure)
                    ));
                }
            }
        }
        if controllers.is_empty() {
            Err(
                "Sallyport knows none of the cluster's Nodes, so it can't tell whose load \
                 balancer this is"
                    .to_owned(),
            )
        } else {
            Ok(controllers)
        }
    }
}

fn has(service: &Service, extra: &Extra) -> bool {
    service.annotation(&extra.key) == Some(&extra.value)
}

fn unknown(name: &str) -> String {
    let mut problem = format!("{} is no controller that is known; use ", quote(name));
    for (i, controller) in CONTROLLERS.iter().enumerate() {
        if i > 0 {
            problem.push_str(if i + 1 == CONTROLLERS.len() {
                " or "
            } else {
                ", "
            });
        }
        problem.push_str(controller.name);
    }
    problem
}

/// Beginnings of keys, before the controller's name; in ascending order of how public the load
/// balancer may be.
const UNSERVED: &str = "LoadBalancer:class not served:";
const NOT_CERTAIN: &str = "LoadBalancer:not certain:";
const PUBLIC: &str = "LoadBalancer:public:";

/// Keys of the same controller that name a more public load balancer than this one does.
pub(crate) fn more_public(key: &str) -> Vec<String> {
    for (degree, more) in [
        (UNSERVED, &[NOT_CERTAIN, PUBLIC][..]),
        (NOT_CERTAIN, &[PUBLIC]),
    ] {
        if let Some(name) = key.strip_prefix(degree) {
            return more
                .iter()
                .map(|degree| format!("{degree}{name}"))
                .collect();
        }
    }
    vec![]
}

fn explain(controller: &Controller, public: &Public<'_>) -> Violation {
    let name = controller.name;
    let deny = |field: String, message: String| Violation::new("S04", field, message);
    let violation = match public {
        Public::Voided(voiding) => return voided(name, voiding),
        Public::Class { class, .. } => {
            let message = format!(
                "{} is not served by {name}, whose annotations say nothing here",
                quote(class)
            );
            deny(CLASS.to_owned(), message).fix(OTHER_CLASS)
        }
        Public::ExternalClass(class) => deny(
            CLASS.to_owned(),
            format!("{} makes a public load balancer", quote(class)),
        )
        .fix(OTHER_CLASS),
        Public::Value {
            key, found, set, ..
        } => {
            let message = format!(
                "{} does not make the load balancer internal for {name}",
                quote(found)
            );
            let fix = set.map_or_else(
                || "correct or remove it".to_owned(),
                |value| format!("set it to {}", quote(value)),
            );
            deny(annotation(key), message).fix(fix)
        }
        Public::Missing { key, set, .. } => {
            let message = format!("nothing makes the load balancer internal for {name}");
            let value = set.map_or_else(String::new, |value| format!(" to {}", quote(value)));
            deny(TYPE.to_owned(), message).fix(format!(
                "set the annotation {key}{value}, or use type ClusterIP"
            ))
        }
        Public::NoSwitch => {
            let message =
                format!("no annotation is known by which {name} makes an internal load balancer");
            deny(TYPE.to_owned(), message).fix("use type ClusterIP")
        }
    };
    let degree = match public {
        Public::Class { public: None, .. } => UNSERVED,
        public if public.is_certain() => PUBLIC,
        _ => NOT_CERTAIN,
    };
    violation.key(format!("{degree}{name}"))
}

/// An annotation that voids the switch. Its value counts: another one may lead to another load
/// balancer.
fn voided(name: &str, voiding: &Voiding<'_>) -> Violation {
    let Voiding { row, found } = voiding;
    let message = format!(
        "{} {}, so that it is not certainly an internal one for {name}",
        quote(found),
        row.cause.text()
    );
    Violation::new("S04", annotation(row.key), message)
        .key(format!("LoadBalancer:{}", voiding.key()))
        .fix("remove it")
}

const TYPE: &str = "spec.type";
const CLASS: &str = "spec.loadBalancerClass";
const OTHER_CLASS: &str = "use an internal class, or type ClusterIP";

/// Returns `metadata.annotations["example.com/key"]`, for a key of our own tables in some case: it
/// needs no escapes, and stands in full.
pub(crate) fn annotation(key: &str) -> String {
    format!("metadata.annotations[\"{key}\"]")
}
