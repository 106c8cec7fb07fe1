//! Ports and protocols that a Service may use, by its type (S20).
//!
//! The rule judges `spec.ports[].port`: the port on which clients reach the Service, inside the
//! cluster or through its load balancer. Node ports are judged by rule S02.

use sallyport_facts::{keys, reach};
use sallyport_policy::prelude::*;
use sallyport_policy::service::Port;
use settings::{MixedProtocols, Ports as Entry, Protocol, Protocols, Range};

policy!(PortsByType, "policy.wit", backstop = "backstop.yaml");

/// The rules, as the settings name them.
pub struct PortsByType(Settings);

/// Every type, with the flag of a description.
const TYPES: [(ServiceType, About); 4] = [
    (ServiceType::ClusterIp, About::CLUSTER_IP),
    (ServiceType::NodePort, About::NODE_PORT),
    (ServiceType::LoadBalancer, About::LOAD_BALANCER),
    (ServiceType::ExternalName, About::EXTERNAL_NAME),
];

impl Policy for PortsByType {
    type Settings = Settings;

    fn describe() -> Description {
        Description::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
            .compares_annotations(keys::of_load_balancers())
    }

    /// About the types that some rule names. Without a rule, about Services without a type: no API
    /// server sends one.
    fn describe_configured(&self) -> Description {
        let judged = TYPES.into_iter().filter(|(found, _)| self.judges(*found));
        let about = judged.fold(About::empty(), |about, (_, flag)| about | flag);
        Self::describe().about(if about.is_empty() {
            About::TYPE_UNSET
        } else {
            about
        })
    }

    fn defaults() -> Settings {
        Settings {
            allowed: vec![],
            denied: vec![],
            protocols: vec![],
            mixed_protocols: MixedProtocols::Allow,
        }
    }

    fn configure(settings: Settings) -> Result<Self, Vec<SettingsError>> {
        let mut errors = vec![];
        for (list, entries) in [("allowed", &settings.allowed), ("denied", &settings.denied)] {
            for (i, entry) in entries.iter().enumerate() {
                check_entry(entry, &format!("{list}[{i}]"), &mut errors);
            }
        }
        for (i, entry) in settings.protocols.iter().enumerate() {
            let path = format!("protocols[{i}]");
            check_types(entry.types.as_deref(), &path, &mut errors);
            if entry.protocols.is_empty() {
                const PROBLEM: &str = "an empty list allows no port at all; name protocols";
                errors.push(SettingsError::new(format!("{path}.protocols"), PROBLEM));
            }
        }
        if errors.is_empty() {
            Ok(Self(settings))
        } else {
            Err(errors)
        }
    }

    fn validate(&self, review: &Review) -> Verdict {
        Verdict::of_update(review, reach::widening, widening, |service| {
            self.judge(service)
        })
    }
}

/// Returns the ways of exposing more that make a kept violation a new one. A port's own key has its
/// target, so that other ports don't matter to it.
fn widening(violation: &Violation) -> Widening {
    if violation.key.starts_with(MIXED) {
        Widening::ANY
    } else {
        Widening::ANY.without(Widening::PORTS.or(Widening::TARGETS))
    }
}

/// The beginning of the key of mixed protocols.
const MIXED: &str = "mixed:";

/// The rules for one type.
struct Rules<'a> {
    of: ServiceType,
    allowed: Vec<&'a Entry>,
    denied: Vec<&'a Entry>,
    protocols: Vec<&'a Protocols>,
}

impl PortsByType {
    fn judge(&self, service: &Service) -> Verdict {
        let mut verdict = Verdict::allow();
        let rules = self.rules(service.service_type());
        let ports = &service.spec.ports;
        for (i, port) in ports.iter().enumerate() {
            let violations = [rules.number(i, port), rules.protocol(i, port)];
            for violation in violations.into_iter().flatten() {
                if !verdict.add(violation) {
                    return verdict;
                }
            }
        }
        if self.denies_mixed(rules.of)
            && let Some(violation) = mixed(ports)
        {
            verdict.add(violation);
        }
        verdict
    }

    fn rules(&self, of: ServiceType) -> Rules<'_> {
        Rules {
            of,
            allowed: of_type(&self.0.allowed, of, |entry| &entry.types),
            denied: of_type(&self.0.denied, of, |entry| &entry.types),
            protocols: of_type(&self.0.protocols, of, |entry| &entry.types),
        }
    }

    fn judges(&self, found: ServiceType) -> bool {
        let Rules {
            allowed,
            denied,
            protocols,
            ..
        } = self.rules(found);
        !allowed.is_empty()
            || !denied.is_empty()
            || !protocols.is_empty()
            || self.denies_mixed(found)
    }

    fn denies_mixed(&self, found: ServiceType) -> bool {
        found == ServiceType::LoadBalancer && self.0.mixed_protocols == MixedProtocols::Deny
    }
}

impl Rules<'_> {
    /// A denied port is not told a second time as one that is not allowed.
    fn number(&self, index: usize, port: &Port) -> Option<Violation> {
        let upper = port.protocol.to_ascii_uppercase();
        let (problem, fix) = if self.denied.iter().any(|entry| entry.has(port.port, &upper)) {
            ("denied", "use another port".to_owned())
        } else if self.allowed.is_empty()
            || self
                .allowed
                .iter()
                .any(|entry| entry.has(port.port, &port.protocol))
        {
            return None;
        } else {
            let allowed: Vec<_> = self.allowed.iter().map(|entry| entry.text()).collect();
            ("not allowed", format!("use {}", allowed.join(" or ")))
        };
        let message = format!(
            "{}/{} is {problem} for type {}",
            port.port,
            shown(&port.protocol),
            self.of
        );
        let violation = Violation::new("S20", format!("spec.ports[{index}].port"), message);
        Some(violation.key(key("port", port)).fix(fix))
    }

    fn protocol(&self, index: usize, port: &Port) -> Option<Violation> {
        let mut allowed = vec![];
        for entry in &self.protocols {
            for name in &entry.protocols {
                if name.text() == port.protocol {
                    return None;
                }
                if !allowed.contains(&name.text()) {
                    allowed.push(name.text());
                }
            }
        }
        if allowed.is_empty() {
            return None;
        }
        let message = format!(
            "{} is not allowed for type {}",
            shown(&port.protocol),
            self.of
        );
        let violation = Violation::new("S20", format!("spec.ports[{index}].protocol"), message);
        let fix = format!("use {}", allowed.join(" or "));
        Some(violation.key(key("protocol", port)).fix(fix))
    }
}

/// Returns the violation of a load balancer that has ports of several protocols.
fn mixed(ports: &[Port]) -> Option<Violation> {
    let mut found: Vec<&str> = vec![];
    for port in ports {
        if let Err(place) = found.binary_search(&port.protocol.as_str()) {
            found.insert(place, &port.protocol);
        }
    }
    if found.len() < 2 {
        return None;
    }
    let names: Vec<_> = found.iter().map(|name| shown(name)).collect();
    let message = format!(
        "a load balancer must not mix protocols, but has {}",
        names.join(" and ")
    );
    Some(
        Violation::new("S20", "spec.ports", message)
            .key(format!("{MIXED}{}", found.join("+")))
            .fix("make a Service for each protocol"),
    )
}

/// Returns the entries for a type.
fn of_type<T>(
    entries: &[T],
    of: ServiceType,
    types: impl Fn(&T) -> &Option<Vec<ServiceType>>,
) -> Vec<&T> {
    let names = |entry: &&T| {
        types(entry)
            .as_ref()
            .is_none_or(|types| types.contains(&of))
    };
    entries.iter().filter(names).collect()
}

/// Returns a port's key. It has the target: a port that leads elsewhere is another violation.
fn key(what: &str, port: &Port) -> String {
    let (number, name) = port.target();
    format!("{what}:{}:{}:{number}{name}", port.protocol, port.port)
}

/// Returns a protocol without quotes, if it is one that an API server admits.
fn shown(protocol: &str) -> String {
    match protocol {
        "TCP" | "UDP" | "SCTP" => protocol.to_owned(),
        _ => quote(protocol),
    }
}

impl Entry {
    fn has(&self, port: i32, protocol: &str) -> bool {
        let protocols = self.protocols.as_ref();
        protocols.is_none_or(|names| names.iter().any(|name| name.text() == protocol))
            && self.ports.iter().any(|range| range.has(port))
    }

    /// Returns the ports as a message shows them: `80, 8000-8999 (TCP)`.
    fn text(&self) -> String {
        let ranges: Vec<_> = self.ports.iter().map(Range::text).collect();
        let mut text = ranges.join(", ");
        if let Some(protocols) = &self.protocols {
            let names: Vec<_> = protocols.iter().map(|name| name.text()).collect();
            text.push_str(&format!(" ({})", names.join(", ")));
        }
        text
    }
}

impl Range {
    fn last(&self) -> u16 {
        self.to.unwrap_or(self.from)
    }

    fn has(&self, port: i32) -> bool {
        i32::from(self.from) <= port && port <= i32::from(self.last())
    }

    fn text(&self) -> String {
        if self.from == self.last() {
            format!("{}", self.from)
        } else {
            format!("{}-{}", self.from, self.last())
        }
    }
}

impl Protocol {
    fn text(&self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        }
    }
}

fn check_entry(entry: &Entry, path: &str, errors: &mut Vec<SettingsError>) {
    check_types(entry.types.as_deref(), path, errors);
    let mut refuse = |field: String, problem: &str| {
        errors.push(SettingsError::new(format!("{path}.{field}"), problem));
    };
    if entry.protocols.as_ref().is_some_and(Vec::is_empty) {
        let problem = "an empty list names no protocol; leave it out for every protocol";
        refuse("protocols".to_owned(), problem);
    }
    if entry.ports.is_empty() {
        let problem = "an empty list names no port; name ports, such as [{ from: 443 }]";
        refuse("ports".to_owned(), problem);
    }
    for (i, range) in entry.ports.iter().enumerate() {
        if range.from == 0 {
            refuse(format!("ports[{i}].from"), "0 is no port; use 1-65535");
        }
        if range.last() < range.from {
            let problem = format!("{} is below from, {}; swap them", range.last(), range.from);
            refuse(format!("ports[{i}].to"), &problem);
        }
    }
}

fn check_types(types: Option<&[ServiceType]>, path: &str, errors: &mut Vec<SettingsError>) {
    if types.is_some_and(<[_]>::is_empty) {
        let problem = "an empty list names no type; leave it out for every type";
        errors.push(SettingsError::new(format!("{path}.types"), problem));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sallyport_policy::testing::*;

    fn ports(types: &[ServiceType], protocols: &[Protocol], ranges: &[(u16, u16)]) -> Entry {
        let range = |&(from, to): &(u16, u16)| Range {
            from,
            to: (from != to).then_some(to),
        };
        Entry {
            types: (!types.is_empty()).then(|| types.to_vec()),
            protocols: (!protocols.is_empty()).then(|| protocols.to_vec()),
            ports: ranges.iter().map(range).collect(),
        }
    }

    fn policy(settings: Settings) -> PortsByType {
        PortsByType::configure(settings).unwrap_or_else(|errors| panic!("{errors:?}"))
    }

    #[test]
    fn only_the_types_of_a_rule_are_asked_about() {
        let about = |settings| policy(settings).describe_configured().about;
        assert_eq!(about(PortsByType::defaults()), About::TYPE_UNSET);
        let denied = vec![
            ports(&[ServiceType::LoadBalancer], &[], &[(22, 22)]),
            ports(&[ServiceType::NodePort], &[], &[(23, 23)]),
        ];
        let settings = Settings {
            denied,
            ..PortsByType::defaults()
        };
        assert_eq!(about(settings), About::LOAD_BALANCER | About::NODE_PORT);
        let settings = Settings {
            mixed_protocols: MixedProtocols::Deny,
            ..PortsByType::defaults()
        };
        assert_eq!(about(settings), About::LOAD_BALANCER);
    }

    #[test]
    fn a_protocol_that_no_api_server_admits_is_denied_in_any_case_and_never_allowed() {
        let mut service = load_balancer("w", 53);
        service.spec.ports[0].protocol = "udp".to_owned();
        let entry = || ports(&[], &[Protocol::Udp], &[(53, 53)]);
        let denied = Settings {
            denied: vec![entry()],
            ..PortsByType::defaults()
        };
        let allowed = Settings {
            allowed: vec![entry()],
            ..PortsByType::defaults()
        };
        for settings in [denied, allowed] {
            let verdict = policy(settings).validate(&create(service.clone()));
            assert_eq!(verdict.violations[0].field, "spec.ports[0].port");
            assert!(verdict.violations[0].message.starts_with("53/\"udp\" is "));
        }
    }

    #[test]
    fn thousands_of_bad_ports_end_at_the_bound() {
        let mut service = load_balancer("w", 80);
        service.spec.ports = (1..9000).map(port).collect();
        let settings = Settings {
            denied: vec![ports(&[], &[], &[(1, 65535)])],
            ..PortsByType::defaults()
        };
        let verdict = policy(settings).validate(&create(service));
        assert_eq!(
            verdict.violations.len(),
            sallyport_policy::MAX_VIOLATIONS + 1
        );
    }
}
