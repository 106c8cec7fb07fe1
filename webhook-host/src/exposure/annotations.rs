//! The annotations and labels of a Service that bear on its doors, by the tables of
//! `sallyport_facts`: what exports it, and what changes whom a door admits and where it leads.

use super::balancer::void;
use sallyport_core::excerpt::excerpt;
use sallyport_facts::Controller;
use sallyport_facts::addresses::{Checked, asked};
use sallyport_facts::exports::EXPORTING_LABELS;
use sallyport_facts::exposing::EXPOSING;
use sallyport_facts::forwarding::FORWARDING;
use sallyport_facts::internal::CONTROLLERS;
use sallyport_facts::pools::chosen;
use sallyport_facts::sharing::{self, Shared};
use sallyport_facts::voids::{BESIDE, Voided, Voiding, voiding};
use sallyport_policy::glob;
use sallyport_policy::service::{Service, ServiceType};

/// An annotation or label by which some controller exposes or exports a Service.
pub(super) struct Exporting<'a> {
    /// `annotation` or `label`.
    pub(super) what: &'static str,
    pub(super) key: &'a str,
    pub(super) value: &'a str,
    /// The controller's handling.
    pub(super) effect: &'static str,
}

/// Returns what exposes or exports a Service, unless a second annotation forbids it.
pub(super) fn exporting(service: &Service) -> Vec<Exporting<'_>> {
    let metadata = &service.metadata;
    let maps = [
        ("annotation", &metadata.annotations, EXPOSING.as_slice()),
        ("label", &metadata.labels, EXPORTING_LABELS.as_slice()),
    ];
    let mut found = vec![];
    for (what, pairs, rows) in maps {
        for (key, value) in pairs {
            let is_excused = |unless: &[(&str, &str)]| {
                unless
                    .iter()
                    .any(|(key, value)| service.annotation(key) == Some(*value))
            };
            let row = rows
                .iter()
                .find(|row| row.exposes(key, value) && !is_excused(row.unless));
            if let Some(row) = row {
                let effect = match row.source.split_once(';') {
                    Some((effect, _)) if !effect.starts_with("the same") => effect,
                    _ => "a controller that reads it exposes the Service",
                };
                found.push(Exporting {
                    what,
                    key,
                    value,
                    effect,
                });
            }
        }
    }
    found
}

/// Returns how the annotations of a Service lead its traffic elsewhere than to the Pods of its
/// selector.
pub(super) fn forwarding(service: &Service) -> Vec<String> {
    let annotations = service.metadata.annotations.iter();
    let leads = annotations
        .filter(|(key, _)| FORWARDING.iter().any(|row| glob::matches(row.key, key)))
        .map(|(key, value)| {
            let value = excerpt(value);
            format!("annotation {key}: {value:?} leads to other Services than the selector does")
        });
    leads.collect()
}

/// Returns the effect of an annotation by which a Service shares the address of its load balancer.
pub(super) fn sharing(shared: &Shared<'_>) -> String {
    format!(
        "{} lets other Services take ports of its address, by {}: {}",
        shared.row.by,
        shared.key,
        excerpt(shared.value)
    )
}

/// Returns the annotations that keep a load balancer from being an internal one for certain: of the
/// controllers that serve it, or of all where they are not known, and of what runs beside any.
pub(super) fn undoing<'a>(
    service: &'a Service,
    controllers: Option<&[&'static Controller]>,
) -> Vec<Voiding<'a>> {
    if service.service_type() != ServiceType::LoadBalancer {
        return vec![];
    }
    let of_controllers: Vec<&'static str> = match controllers {
        Some(controllers) => controllers.iter().map(|known| known.name).collect(),
        None => CONTROLLERS.iter().map(|known| known.name).collect(),
    };
    let mut found: Vec<Voiding<'a>> = vec![];
    for by in BESIDE.into_iter().chain(of_controllers) {
        for voiding in voiding(service, None, Voided::Internal, by) {
            if found.iter().all(|other| other.row.key != voiding.row.key) {
                found.push(voiding);
            }
        }
    }
    found
}

/// Returns a sentence about each annotation that bears on how a Service is reached, and is no
/// switch, no export and no source range.
pub(super) fn notes(service: &Service, controllers: Option<&[&'static Controller]>) -> Vec<String> {
    let mut notes: Vec<_> = undoing(service, controllers).iter().map(void).collect();
    for asked in asked(service, Checked::Nothing) {
        let (key, text) = (asked.key, excerpt(asked.text));
        notes.push(format!(
            "annotation {key}: nodes accept traffic for {text}, as with externalIPs"
        ));
    }
    for asked in asked(service, Checked::Pool) {
        let (key, text) = (asked.key, excerpt(asked.text));
        notes.push(format!("annotation {key} asks for the address {text}"));
    }
    for chosen in chosen(service) {
        let (key, text, origin) = (chosen.key, excerpt(chosen.text), chosen.origin.text());
        notes.push(format!("annotation {key} asks for the {origin} {text}"));
    }
    notes.extend(sharing::shared(service).iter().map(sharing));
    notes.extend(forwarding(service));
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exposure::{Reach, doors};
    use crate::report::explanation::Explanation;
    use sallyport_facts::addresses::NAMES;
    use sallyport_facts::internal::Switch;
    use sallyport_facts::pools::CHOOSES;
    use sallyport_facts::ranges;
    use sallyport_facts::reads::{Reading, Reads};
    use sallyport_facts::sharing::SHARES;
    use sallyport_facts::voids::VOIDS;
    use serde_json::value::RawValue;
    use serde_json::{Value, json};

    fn balancer(map: &str, key: &str, value: &str) -> Value {
        json!({"metadata": {"name": "w", map: {key: value}}, "spec": {"type": "LoadBalancer",
            "selector": {"a": "b"}, "ports": [{"port": 80}]}})
    }

    fn explained(value: &Value) -> String {
        let service = sallyport_core::service::from_value(value).expect("a Service");
        let explanation = Explanation::of(&service, "n", String::new(), None);
        serde_json::to_string(&explanation).expect("JSON")
    }

    fn told(value: &Value) -> String {
        let service = sallyport_core::service::from_value(value).expect("a Service");
        let object = RawValue::from_string(value.to_string()).expect("JSON");
        serde_json::to_string(&doors(&service, &object, &[])).expect("JSON")
    }

    /// A value that has the annotation's effect.
    fn effective(reads: Reads) -> &'static str {
        let values = [
            "true", "on", "off", "1", "eip", "skip", "deny", "internet", "None", "x",
        ];
        let inner = r#"{"type":"inner"}"#;
        let mut values = values
            .into_iter()
            .chain(["internal", "Internal", "intranet", inner]);
        match reads {
            Reads::Exactly(yes) | Reads::Either(yes, _) => yes[0],
            Reads::Folded(yes) | Reads::Contains(yes) => yes,
            _ => values
                .find(|value| reads.read(value) == Reading::Yes)
                .expect("some value"),
        }
    }

    #[test]
    fn explain_names_every_annotation_of_the_tables_that_has_an_effect() {
        let mut pairs = vec![];
        pairs.extend(VOIDS.iter().map(|row| (row.key, effective(row.reads))));
        pairs.extend(NAMES.iter().map(|row| (row.key, "192.0.2.1")));
        pairs.extend(CHOOSES.iter().map(|row| (row.key, "x")));
        pairs.extend(SHARES.iter().map(|row| (row.key, effective(row.reads))));
        for (key, value) in pairs {
            let mut service = balancer("annotations", key, value);
            service["spec"]["loadBalancerSourceRanges"] = json!(["192.0.2.0/24"]);
            let text = explained(&service);
            assert!(text.contains(key), "{key}: {value}: {text}");
        }
        for row in &FORWARDING {
            let key = row.key.replace('*', "TCP-80");
            let text = explained(&balancer("annotations", &key, "x"));
            assert!(text.contains(&key), "{key}: {text}");
        }
    }

    #[test]
    fn exposures_name_every_annotation_that_opens_or_shares_a_door_or_leads_it_elsewhere() {
        for row in &VOIDS {
            let mut service = balancer("annotations", row.key, effective(row.reads));
            service["spec"]["loadBalancerSourceRanges"] = json!(["192.0.2.0/24"]);
            if row.voids.includes(Voided::Ranges) {
                let text = told(&service);
                assert!(text.contains(row.key), "{}: {text}", row.key);
            }
        }
        for row in NAMES.iter().filter(|row| row.checked == Checked::Nothing) {
            let text = told(&balancer("annotations", row.key, "8.8.8.8"));
            assert!(
                text.contains(r#""kind":"externalIp""#),
                "{}: {text}",
                row.key
            );
            assert!(text.contains(row.key), "{}: {text}", row.key);
        }
        for row in &SHARES {
            let text = told(&balancer("annotations", row.key, effective(row.reads)));
            assert!(text.contains(r#""kind":"shared""#), "{}: {text}", row.key);
        }
        for row in &FORWARDING {
            let key = row.key.replace('*', "TCP-80");
            let text = told(&balancer("annotations", &key, "x"));
            assert!(text.contains(&key), "{key}: {text}");
        }
    }

    #[test]
    fn both_name_every_annotation_and_label_that_exports() {
        for (map, rows) in [
            ("annotations", EXPOSING.as_slice()),
            ("labels", EXPORTING_LABELS.as_slice()),
        ] {
            for row in rows {
                let value = row
                    .values
                    .first()
                    .map_or("x", |value| value.trim_matches('*'));
                let mut service = balancer(map, row.key, value);
                service["spec"]["type"] = json!("ClusterIP");
                let (explained, told) = (explained(&service), told(&service));
                assert!(explained.contains(row.key), "{}: {explained}", row.key);
                assert!(told.contains(r#""kind":"exported""#), "{}: {told}", row.key);
            }
        }
    }

    #[test]
    fn both_read_every_switch_and_every_source_range_of_a_controller() {
        let switches = CONTROLLERS.iter().flat_map(|known| known.switches);
        for Switch { key, reads, .. } in switches {
            let text = told(&balancer("annotations", key, effective(*reads)));
            assert!(text.contains(&format!("[\\\"{key}\\\"]")), "{key}: {text}");
        }
        for controller in &CONTROLLERS {
            for key in controller.ranges {
                let service = balancer("annotations", key, "192.0.2.0/24");
                let service = sallyport_core::service::from_value(&service).expect("a Service");
                let service = super::super::converted(&service);
                let ranges = ranges::Ranges::of(&service, Some(&[controller]));
                assert!(ranges.are_read, "{key}");
                let sources = super::super::Sources::of(&service, Some(&[controller]));
                let text = sources.expect("ranges").text();
                assert!(text.contains("192.0.2.0/24"), "{key}: {text}");
            }
        }
    }

    #[test]
    fn an_annotation_that_undoes_a_switch_leaves_nothing_internal() {
        let azure = "service.beta.kubernetes.io/azure-load-balancer-internal";
        let internal = |key: &str, value: &str| {
            let mut service = balancer("annotations", azure, "true");
            service["metadata"]["annotations"][key] = json!(value);
            let service = sallyport_core::service::from_value(&service).expect("a Service");
            Reach::of(&service, &[]).internal
        };
        assert_eq!(internal("example.com/x", "y"), ["azure"]);
        for (key, value) in [
            (
                "service.beta.kubernetes.io/azure-additional-public-ips",
                "8.8.8.8",
            ),
            ("service.beta.kubernetes.io/azure-pls-create", "true"),
            ("kube-vip.io/forwardUPNP", "true"),
        ] {
            assert_eq!(internal(key, value), Vec::<&str>::new(), "{key}");
        }
    }

    #[test]
    fn an_id_that_the_controller_wrote_undoes_nothing() {
        let private = "service.beta.kubernetes.io/do-loadbalancer-network";
        let mut service = balancer("annotations", private, "INTERNAL");
        let id = "kubernetes.digitalocean.com/load-balancer-id";
        service["metadata"]["annotations"][id] = json!("x");
        assert!(told(&service).contains("takes an existing load balancer"));
        service["status"] = json!({"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}});
        let told = told(&service);
        assert!(!told.contains("takes an existing load balancer"), "{told}");
    }

    #[test]
    fn external_ips_of_a_headless_service_have_no_effect() {
        let text = |cluster_ip: &str| {
            explained(
                &json!({"metadata": {"name": "w"}, "spec": {"clusterIP": cluster_ip,
                "externalIPs": ["192.0.2.7"], "selector": {"a": "b"}, "ports": [{"port": 80}]}}),
            )
        };
        assert!(text("10.0.0.1").contains("whoever routes its external IPs to a node"));
        let headless = text("None");
        assert!(
            headless.contains(r#""accessScope":"inside the cluster only""#),
            "{headless}"
        );
        assert!(
            headless.contains("without effect, as it is headless"),
            "{headless}"
        );
    }
}
