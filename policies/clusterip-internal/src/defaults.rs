//! Default settings: the tables of [`sallyport_facts::backends`].

use super::settings::{OnUnknown, Ports, Settings};
use sallyport_facts::backends::{
    AMBIGUOUS_PORTS, KnownPort, OPERATOR_LABELS, PRODUCTS, PROTOCOLS, ROLES, STRICT_PORTS, TIERS,
};

pub(crate) fn settings() -> Settings {
    Settings {
        labels: marks(),
        selectors: marks(),
        namespace_labels: vec![],
        ports: Ports {
            strict: numbers(&STRICT_PORTS),
            ambiguous: numbers(&AMBIGUOUS_PORTS),
        },
        names: words(&PROTOCOLS),
        allow_internal_lb: false,
        protect_labels: false,
        on_unknown: OnUnknown::Deny,
        coerce: false,
        coerce_existing: false,
    }
}

fn marks() -> Vec<(String, Vec<String>)> {
    let mut marks = vec![];
    for (key, values) in [
        ("app", PRODUCTS.as_slice()),
        ("app.kubernetes.io/component", &ROLES),
        ("app.kubernetes.io/name", &PRODUCTS),
        ("role", &TIERS),
        ("tier", &TIERS),
        ("type", &TIERS),
    ] {
        marks.push((key.to_owned(), words(values)));
    }
    for key in OPERATOR_LABELS {
        marks.push((key.to_owned(), vec![]));
    }
    marks
}

fn words(texts: &[&str]) -> Vec<String> {
    let mut words = vec![];
    for text in texts {
        words.push((*text).to_owned());
    }
    words
}

fn numbers(ports: &[KnownPort]) -> Vec<u16> {
    ports.iter().map(|port| port.number).collect()
}
