//! Signals: the labels, ports and names that mark a Service as an internal backend.
//!
//! Any signal suffices, and every one is told: an update may keep an offence that it had before,
//! whatever other signal comes or goes. Match loosely to restrict: values fold case, and a remapped
//! port counts by where it leads.

use super::settings::{OnUnknown, Settings};
use sallyport_facts::port_names::{PART_PREFIXES, PROTOCOL_PREFIXES};
use sallyport_policy::pairs::{Wanted, is_wanted};
use sallyport_policy::prelude::*;
use sallyport_policy::service::{Pair, Port, TargetPort};

/// A signal of the Service as a whole.
pub(crate) struct Signal<'a> {
    what: &'static str,
    /// `None` where the namespace's labels are not known.
    pair: Option<&'a Pair>,
}

impl<'a> Signal<'a> {
    /// Every signal. A pair that stands in two places is told once: a label that is in the selector
    /// too as what selects.
    pub(crate) fn all(settings: &Settings, service: &'a Service, review: &'a Review) -> Vec<Self> {
        let namespace = &review.namespace;
        let mut signals = vec![];
        tell(
            "namespace label",
            &namespace.labels,
            &settings.namespace_labels,
            &mut signals,
        );
        let unknown = !namespace.known && settings.on_unknown == OnUnknown::Deny;
        if unknown && signals.is_empty() && !settings.namespace_labels.is_empty() {
            signals.push(Self {
                what: "namespace label",
                pair: None,
            });
        }
        tell(
            "selector",
            &service.spec.selector,
            &settings.selectors,
            &mut signals,
        );
        tell(
            "label",
            &service.metadata.labels,
            &settings.labels,
            &mut signals,
        );
        for pod in review.selected_pods.iter().flatten() {
            if signals.is_empty() {
                tell("Pod label", &pod.labels, &settings.selectors, &mut signals);
            }
        }
        signals
    }

    /// Returns the signal for a message: `label tier is "database"`.
    pub(crate) fn text(&self) -> String {
        let Some((key, value)) = self.pair else {
            return "the namespace's labels are not known".to_owned();
        };
        format!("{} {key} is {}", self.what, quote(value))
    }

    /// Part of the violation's key.
    pub(crate) fn key(&self) -> String {
        let Some((key, value)) = self.pair else {
            return format!("{}:?", self.what);
        };
        format!("{}:{key}={value}", self.what)
    }
}

fn tell<'a>(what: &'static str, pairs: &'a [Pair], wanted: &Wanted, signals: &mut Vec<Signal<'a>>) {
    for pair in pairs {
        if is_wanted(&pair.0, &pair.1, wanted)
            && !signals.iter().any(|told| told.pair == Some(pair))
        {
            signals.push(Signal {
                what,
                pair: Some(pair),
            });
        }
    }
}

/// A signal of a port.
pub(crate) struct PortSignal {
    /// The field of the port that tells it.
    pub(crate) field: &'static str,
    /// The value found, for a message.
    pub(crate) found: String,
    /// True if hardly anything but an internal backend looks like that.
    pub(crate) is_certain: bool,
}

impl PortSignal {
    /// Returns the strongest signal of a port.
    pub(crate) fn of(settings: &Settings, port: &Port, review: &Review) -> Option<Self> {
        let numbers = numbers(port, review);
        by_number(&numbers, &settings.ports.strict, true)
            .or_else(|| by_name(settings, port))
            .or_else(|| by_number(&numbers, &settings.ports.ambiguous, false))
    }
}

fn by_number(
    numbers: &[(&'static str, i32)],
    known: &[u16],
    is_certain: bool,
) -> Option<PortSignal> {
    for &(field, number) in numbers {
        if known.iter().any(|known| i32::from(*known) == number) {
            return Some(PortSignal {
                field,
                found: format!("port {number}"),
                is_certain,
            });
        }
    }
    None
}

/// The numbers of a port, with the field that says them. A named target port is known where the
/// Pods are.
fn numbers(port: &Port, review: &Review) -> Vec<(&'static str, i32)> {
    let mut numbers = vec![("port", port.port)];
    match &port.target_port {
        Some(TargetPort::Number(number)) => numbers.push(("targetPort", *number)),
        Some(TargetPort::Name(name)) => {
            for port in review
                .selected_pods
                .iter()
                .flatten()
                .flat_map(|pod| &pod.ports)
            {
                if port.name.as_deref() == Some(name) {
                    numbers.push(("targetPort", port.number));
                }
            }
        }
        None => {}
    }
    numbers
}

fn by_name(settings: &Settings, port: &Port) -> Option<PortSignal> {
    let target = match &port.target_port {
        Some(TargetPort::Name(name)) => Some(name),
        _ => None,
    };
    for (field, name) in [
        ("targetPort", target),
        ("name", port.name.as_ref()),
        ("appProtocol", port.app_protocol.as_ref()),
    ] {
        match name {
            Some(name) if is_known_name(settings, name) => {
                return Some(PortSignal {
                    field,
                    found: quote(name),
                    is_certain: true,
                });
            }
            _ => {}
        }
    }
    None
}

/// Whole, or the first word that is no prefix; without the domain that an `appProtocol` can have
/// (`example.com/redis`). Prefixes say how it is spoken to (`tcp-postgresql`), or which part it is
/// (`db-postgres`).
fn is_known_name(settings: &Settings, name: &str) -> bool {
    let mut rest = name
        .as_bytes()
        .rsplit(|byte| *byte == b'/')
        .next()
        .unwrap_or_default();
    loop {
        let end = rest
            .iter()
            .position(|byte| *byte == b'-')
            .unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        if is_known_word(settings, rest) || is_known_word(settings, word) {
            return true;
        }
        if behind.is_empty() || !is_prefix(word) {
            return false;
        }
        rest = behind.get(1..).unwrap_or_default();
    }
}

fn is_prefix(word: &[u8]) -> bool {
    let prefixes = [PROTOCOL_PREFIXES.as_slice(), &PART_PREFIXES];
    prefixes
        .into_iter()
        .flatten()
        .any(|prefix| is_word(prefix, word))
}

/// Returns true if a word is one of the names, with or without a number at its end (`redis1`).
pub(crate) fn is_known_word(settings: &Settings, word: &[u8]) -> bool {
    settings.names.iter().any(|known| is_word(known, word))
}

fn is_word(known: &str, word: &[u8]) -> bool {
    let Some((start, rest)) = word.split_at_checked(known.len()) else {
        return false;
    };
    start.eq_ignore_ascii_case(known.as_bytes()) && rest.iter().all(u8::is_ascii_digit)
}
