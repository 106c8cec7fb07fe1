//! Restricts the addresses that a Service asks for its load balancer (S17): to blocks of addresses,
//! to pools, reserved addresses and networks by name, and to Services that may share them.
//!
//! One address gives one violation, wherever it stands. Addresses that a controller takes without
//! comparing them with anything are rule S08's, of policy external-ips. Writes to `services/status`
//! are judged, too, since they can change annotations.

mod allowed;
mod sharing;

use allowed::Allowed;
use sallyport_facts::addresses::{Checked, asked};
use sallyport_facts::pools::{CHOOSES, Origin, chosen};
use sallyport_facts::{keys, reach, sharing as facts};
use sallyport_policy::net::{Address, Cidr};
use sallyport_policy::prelude::*;

policy!(
    LoadBalancerAddresses,
    "policy.wit",
    backstop = "backstop.yaml"
);

/// The checked settings: addresses and pools that Services may ask for, by namespace.
pub struct LoadBalancerAddresses {
    common: Allowed,
    /// By namespace name, in place of the common one.
    own: Vec<(String, Allowed)>,
}

/// The most addresses and names of one Service that are told apart. No load balancer has more.
const MAX_REQUESTS: usize = 64;

impl Policy for LoadBalancerAddresses {
    type Settings = Settings;

    fn describe() -> Description {
        let pools = CHOOSES.iter().map(|row| row.key);
        Description::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
            .compares_annotations(keys::of_load_balancers())
            .compares_annotations(pools.chain(facts::keys()))
            .with_status_writes()
    }

    /// Without a restriction, about Services without a type: no API server sends one.
    fn describe_configured(&self) -> Description {
        let is_off = self.common.allows_all() && self.own.iter().all(|(_, own)| own.allows_all());
        Self::describe().about(if is_off {
            About::TYPE_UNSET
        } else {
            About::LOAD_BALANCER
        })
    }

    fn defaults() -> Settings {
        Settings {
            allowed_cidrs: None,
            allowed_pools: None,
            sharing: None,
            per_namespace: vec![],
        }
    }

    fn configure(settings: Settings) -> Result<Self, Vec<SettingsError>> {
        let mut errors = vec![];
        let namespaces = settings.per_namespace.iter().map(|(name, _)| name.as_str());
        names::namespaces("perNamespace", namespaces, &mut errors);
        let policy = Self {
            common: Allowed::common(&settings, &mut errors),
            own: Allowed::of_namespaces(&settings, &mut errors),
        };
        if errors.is_empty() {
            Ok(policy)
        } else {
            Err(errors)
        }
    }

    fn validate(&self, review: &Review) -> Verdict {
        // Each address, name and key of sharing has a key of its own. Beside that, only where its
        // traffic leads counts, and who is let in.
        const WAYS: Widening = Widening::LEADS
            .or(Widening::SOURCES)
            .or(Widening::FAMILIES)
            .or(Widening::PUBLIC);
        Verdict::of_update(
            review,
            reach::widening,
            |_| WAYS,
            |service| self.judge(service, &review.namespace.name),
        )
    }
}

/// Something that a Service asks for.
struct Request<'a> {
    /// The path of the field or the annotation.
    field: String,
    text: &'a str,
    /// None: an address.
    origin: Option<Origin>,
}

impl LoadBalancerAddresses {
    fn judge(&self, service: &Service, namespace: &str) -> Verdict {
        let mut verdict = Verdict::allow();
        let allowed = pairs::for_namespace(&self.own, namespace, &self.common);
        if service.service_type() != ServiceType::LoadBalancer {
            return verdict;
        }
        let requests = requests(service);
        if allowed.judges_addresses() {
            for (i, request) in requests.iter().enumerate() {
                if i == MAX_REQUESTS {
                    verdict.add(too_many(&request.field));
                    break;
                }
                if let Some(violation) = allowed.violation(request, namespace) {
                    verdict.add(violation);
                }
            }
        }
        for violation in sharing::violations(service, namespace, allowed.sharing()) {
            verdict.add(violation);
        }
        verdict
    }
}

/// Returns what a Service asks for, each address and each name once.
fn requests(service: &Service) -> Vec<Request<'_>> {
    let mut requests: Vec<Request<'_>> = vec![];
    let mut add = |field: String, text, origin| {
        let is_same = |other: &Request<'_>| same(other.text, text);
        if requests.len() <= MAX_REQUESTS && !requests.iter().any(is_same) {
            requests.push(Request {
                field,
                text,
                origin,
            });
        }
    };
    if let Some(ip) = &service.spec.load_balancer_ip {
        let text = ip.trim_ascii();
        if !text.is_empty() {
            add("spec.loadBalancerIP".to_owned(), text, None);
        }
    }
    for asked in asked(service, Checked::Pool) {
        add(annotation(asked.key), asked.text, None);
    }
    for chosen in chosen(service) {
        add(annotation(chosen.key), chosen.text, Some(chosen.origin));
    }
    requests
}

/// Returns true if two texts are the same address, or the same text that is no address.
fn same(one: &str, other: &str) -> bool {
    one == other
        || Address::parse(one).is_some_and(|address| Some(address) == Address::parse(other))
}

/// Returns an annotation's path. Its key is one of the tables', in some case: it needs no escapes,
/// and stands in full.
fn annotation(key: &str) -> String {
    format!("metadata.annotations[\"{key}\"]")
}

fn too_many(field: &str) -> Violation {
    let message = format!("the Service asks for more than {MAX_REQUESTS} addresses");
    Violation::new("S17", field, message).fix("name fewer")
}

/// Addresses as a request names them.
enum Requested {
    One(Address),
    /// A block or a range.
    Many(Cidr),
    /// Something else: a name.
    None,
}

impl Requested {
    fn parse(text: &str) -> Self {
        if let Some(address) = Address::parse(text) {
            return Self::One(address);
        }
        match Cidr::parse(text).or_else(|| Cidr::range(text)) {
            Some(block) => Self::Many(block),
            None => Self::None,
        }
    }
}

#[cfg(test)]
mod tests;
