//! What marks a Service as an internal backend.
//!
//! Any signal suffices; the strongest one is told. Match loosely to restrict: values fold case, and a remapped port counts by
//! where it leads.

use super::settings::{OnUnknown, Settings};
use sallyport_policy::pairs::first_of;
use sallyport_policy::prelude::*;
use sallyport_policy::review::ContainerPort;
use sallyport_policy::service::{Pair, Port, TargetPort};

/// A signal of the Service as a whole.
pub(crate) struct Signal {
    /// As a message tells it: `label tier is "database"`.
    pub(crate) text: String,
    /// Part of the violation's key.
    pub(crate) key: String,
}

impl Signal {
    fn pair(what: &str, (key, value): &Pair) -> Self {
        Self { text: format!("{what} {key} is {}", quote(value)), key: format!("{what}:{key}={value}") }
    }

    /// The strongest signal, if any.
    pub(crate) fn strongest(settings: &Settings, review: &Review) -> Option<Self> {
        namespace(settings, review)
            .or_else(|| first_of(&review.service.metadata.labels, &settings.labels).map(|pair| Self::pair("label", pair)))
            .or_else(|| first_of(&review.service.spec.selector, &settings.selectors).map(|pair| Self::pair("selector", pair)))
            .or_else(|| pods(settings, review))
    }
}

fn namespace(settings: &Settings, review: &Review) -> Option<Signal> {
    if settings.namespace_labels.is_empty() {
        return None;
    }
    let unknown = !review.namespace.known && settings.on_unknown == OnUnknown::Deny;
    let found = first_of(&review.namespace.labels, &settings.namespace_labels);
    found.map(|pair| Signal::pair("namespace label", pair)).or_else(|| {
        unknown.then(|| Signal {
            text: "the namespace's labels are not known".to_owned(),
            key: "namespace label:?".to_owned(),
        })
    })
}

fn pods(settings: &Settings, review: &Review) -> Option<Signal> {
    let pods = review.selected_pods.as_deref().unwrap_or_default();
    pods.iter().find_map(|pod| first_of(&pod.labels, &settings.selectors)).map(|pair| Signal::pair("Pod label", pair))
}

/// What a port tells.
pub(crate) enum PortSignal {
    /// It leads to an internal backend: field, and what was found there.
    Strict { field: &'static str, found: String },
    /// It may.
    Ambiguous { field: &'static str, found: String },
}

impl PortSignal {
    /// What the field tells that says most.
    pub(crate) fn of(settings: &Settings, port: &Port, review: &Review) -> Option<Self> {
        let numbers = numbers(port, review);
        let strict = |number: i32| settings.ports.strict.iter().any(|known| i32::from(*known) == number);
        let ambiguous = |number: i32| settings.ports.ambiguous.iter().any(|known| i32::from(*known) == number);
        if let Some((field, number)) = numbers.iter().find(|(_, number)| strict(*number)) {
            return Some(Self::Strict { field, found: format!("port {number}") });
        }
        if let Some((field, name)) = names(port).into_iter().find(|(_, name)| is_known_name(settings, name)) {
            return Some(Self::Strict { field, found: quote(name) });
        }
        let (field, number) = numbers.into_iter().find(|(_, number)| ambiguous(*number))?;
        Some(Self::Ambiguous { field, found: format!("port {number}") })
    }
}

/// The numbers of a port, with the field that says them. A named target port is known where the Pods are.
fn numbers(port: &Port, review: &Review) -> Vec<(&'static str, i32)> {
    let mut numbers = vec![("port", port.port)];
    match &port.target_port {
        Some(TargetPort::Number(number)) => numbers.push(("targetPort", *number)),
        Some(TargetPort::Name(name)) => {
            let pods = review.selected_pods.as_deref().unwrap_or_default();
            let named = |port: &&ContainerPort| port.name.as_deref() == Some(name);
            let found = pods.iter().flat_map(|pod| &pod.ports).filter(named);
            numbers.extend(found.map(|port| ("targetPort", port.number)));
        }
        None => {}
    }
    numbers
}

fn names(port: &Port) -> Vec<(&'static str, &str)> {
    let target = match &port.target_port {
        Some(TargetPort::Name(name)) => Some(name.as_str()),
        _ => None,
    };
    let named = [("targetPort", target), ("name", port.name.as_deref()), ("appProtocol", port.app_protocol.as_deref())];
    named.into_iter().filter_map(|(field, name)| Some((field, name?))).collect()
}

/// Whole, or the token before the first `-`.
fn is_known_name(settings: &Settings, name: &str) -> bool {
    let token = name.split('-').next().unwrap_or(name);
    settings.names.iter().any(|known| known.eq_ignore_ascii_case(name) || known.eq_ignore_ascii_case(token))
}
