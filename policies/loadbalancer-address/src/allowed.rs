//! Addresses, pools and sharing keys that Services of one namespace may ask for.

use crate::settings::{OfNamespace, Settings, Sharing};
use crate::{Request, Requested};
use sallyport_policy::net::{Cidr, together_cover};
use sallyport_policy::prelude::*;

/// The blocks, names and sharing that are allowed.
pub(crate) struct Allowed {
    /// None: addresses and names are not judged.
    addresses: Option<Addresses>,
    sharing: Sharing,
}

struct Addresses {
    blocks: Vec<Cidr>,
    /// The blocks as the settings spell them.
    texts: Vec<String>,
    /// Names of pools, reserved addresses and networks.
    names: Vec<String>,
}

impl Allowed {
    /// Returns what is allowed where a namespace has no settings of its own.
    pub(crate) fn common(settings: &Settings, errors: &mut Vec<SettingsError>) -> Self {
        let cidrs = settings.allowed_cidrs.as_deref().unwrap_or_default();
        let names = settings.allowed_pools.as_deref().unwrap_or_default();
        names::exact("allowedPools", names, errors);
        let blocks = blocks("allowedCidrs", cidrs, errors);
        Self::new(settings, (blocks, cidrs), names, settings.sharing)
    }

    /// Returns what is allowed in the namespaces that have settings of their own.
    pub(crate) fn of_namespaces(
        settings: &Settings,
        errors: &mut Vec<SettingsError>,
    ) -> Vec<(String, Self)> {
        let mut of_namespaces = vec![];
        for (namespace, own) in &settings.per_namespace {
            let path = format!("perNamespace[{}]", quote(namespace));
            if !judges_addresses(own) && own.sharing.is_none() {
                const PROBLEM: &str = "has no settings, so that it has no effect; remove it";
                errors.push(SettingsError::new(path.as_str(), PROBLEM));
            }
            let cidrs = own
                .allowed_cidrs
                .as_ref()
                .or(settings.allowed_cidrs.as_ref());
            let names = own
                .allowed_pools
                .as_ref()
                .or(settings.allowed_pools.as_ref());
            let cidrs = cidrs.map(Vec::as_slice).unwrap_or_default();
            let names = names.map(Vec::as_slice).unwrap_or_default();
            // The settings for all namespaces have been checked already.
            let mut found = vec![];
            let blocks = blocks(&format!("{path}.allowedCidrs"), cidrs, &mut found);
            if own.allowed_cidrs.is_some() {
                errors.append(&mut found);
            }
            if own.allowed_pools.is_some() {
                names::exact(&format!("{path}.allowedPools"), names, errors);
            }
            let sharing = own.sharing.or(settings.sharing);
            let allowed = Self::new(settings, (blocks, cidrs), names, sharing);
            of_namespaces.push((namespace.clone(), allowed));
        }
        of_namespaces
    }

    fn new(
        settings: &Settings,
        (blocks, texts): (Vec<Cidr>, &[String]),
        names: &[String],
        sharing: Option<Sharing>,
    ) -> Self {
        let judges = settings.allowed_cidrs.is_some()
            || settings.allowed_pools.is_some()
            || settings
                .per_namespace
                .iter()
                .any(|(_, own)| judges_addresses(own));
        let default = if judges {
            Sharing::Deny
        } else {
            Sharing::Allow
        };
        Self {
            addresses: judges.then(|| Addresses {
                blocks,
                texts: texts.to_vec(),
                names: names.to_vec(),
            }),
            sharing: sharing.unwrap_or(default),
        }
    }

    pub(crate) fn sharing(&self) -> Sharing {
        self.sharing
    }

    pub(crate) fn judges_addresses(&self) -> bool {
        self.addresses.is_some()
    }

    pub(crate) fn allows_all(&self) -> bool {
        !self.judges_addresses() && self.sharing == Sharing::Allow
    }

    /// Returns the violation of a request that is not allowed.
    pub(crate) fn violation(&self, request: &Request<'_>, namespace: &str) -> Option<Violation> {
        let allowed = self.addresses.as_ref()?;
        let requested = Requested::parse(request.text);
        match (&requested, request.origin) {
            (Requested::None, Some(_)) if allowed.names.iter().any(|name| name == request.text) => {
                None
            }
            (Requested::None, Some(origin)) => {
                Some(allowed.of_name(request, origin.text(), namespace))
            }
            (Requested::One(address), _)
                if allowed.blocks.iter().any(|block| block.contains(*address)) =>
            {
                None
            }
            (Requested::Many(block), _) if together_cover(&allowed.blocks, block) => None,
            _ => Some(allowed.of_address(request, &requested, namespace)),
        }
    }
}

impl Addresses {
    fn of_name(&self, request: &Request<'_>, what: &str, namespace: &str) -> Violation {
        let (name, namespace) = (quote(request.text), quote(namespace));
        let (problem, fix) = if self.names.is_empty() {
            let problem = format!("{name}: namespace {namespace} may not ask for a {what}");
            (problem, "remove it".to_owned())
        } else {
            let names: Vec<_> = self.names.iter().map(|name| quote(name)).collect();
            let problem = format!("{name} is no {what} that namespace {namespace} may use");
            (problem, format!("use {}", names.join(" or ")))
        };
        Violation::new("S17", request.field.as_str(), problem)
            .key(format!("{what}:{}", request.text))
            .fix(fix)
    }

    fn of_address(
        &self,
        request: &Request<'_>,
        requested: &Requested,
        namespace: &str,
    ) -> Violation {
        let (text, namespace) = (quote(request.text), quote(namespace));
        let key = match requested {
            Requested::One(address) => format!("address:{address}"),
            _ => format!("address:{}", request.text),
        };
        let problem = match requested {
            Requested::None => format!("{text} is no IP address in its usual form"),
            _ if self.texts.is_empty() => {
                format!("{text}: namespace {namespace} may not ask for an address")
            }
            _ => format!("{text} is in none of the blocks that namespace {namespace} may use"),
        };
        let fix = if self.texts.is_empty() {
            "remove it, so that the controller chooses an address".to_owned()
        } else {
            format!("use an address in {}", self.texts.join(" or "))
        };
        Violation::new("S17", request.field.as_str(), problem)
            .key(key)
            .fix(fix)
    }
}

fn judges_addresses(own: &OfNamespace) -> bool {
    own.allowed_cidrs.is_some() || own.allowed_pools.is_some()
}

/// Parses blocks and ranges.
fn blocks(path: &str, texts: &[String], errors: &mut Vec<SettingsError>) -> Vec<Cidr> {
    let mut blocks = vec![];
    for (i, text) in texts.iter().enumerate() {
        match Cidr::parse(text).or_else(|| Cidr::range(text)) {
            Some(block) if block.is_exact() => blocks.push(block),
            found => {
                let problem = match found {
                    Some(_) => "has bits beyond its prefix; write the block's first address",
                    None => {
                        "is neither a block nor a range of addresses; use one like 192.0.2.0/24, \
                         2001:db8::/64 or 192.0.2.240-192.0.2.250"
                    }
                };
                let problem = format!("{} {problem}", quote(text));
                errors.push(SettingsError::new(format!("{path}[{i}]"), problem));
            }
        }
    }
    blocks
}
