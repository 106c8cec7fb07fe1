//! No external IPs but those from allowed blocks (S08), be they named by `spec.externalIPs` or by
//! an annotation that makes a controller of load balancers take any address.
//!
//! kube-proxy sends whatever the cluster sends to an external IP to the Service's Pods, so that
//! whoever writes a Service can take over any address (CVE-2020-8554). Of a headless Service and an
//! ExternalName they have no effect yet; they are judged all the same, since they take effect with
//! the next change of the type.

use sallyport_facts::addresses::{Asked, Checked, MAX_ASKED, NAMES, asked};
use sallyport_policy::net::{Address, Cidr};
use sallyport_policy::prelude::*;

policy!(ExternalIps, "policy.wit", backstop = "backstop.yaml");

/// The policy, with its blocks parsed.
pub struct ExternalIps {
    blocks: Vec<Cidr>,
    /// The advice for an address outside the blocks.
    fix: String,
}

impl Policy for ExternalIps {
    type Settings = Settings;

    fn describe() -> Description {
        Description::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
            .compares_annotations(
                NAMES
                    .iter()
                    .filter(|names| names.checked == Checked::Nothing)
                    .map(|names| names.key),
            )
            .with_status_writes()
            .about(About::EXTERNAL_IPS.union(About::LOAD_BALANCER))
    }

    fn defaults() -> Settings {
        Settings {
            allowed_cidrs: vec![],
        }
    }

    fn configure(settings: Settings) -> Result<Self, Vec<SettingsError>> {
        let mut blocks = Vec::with_capacity(settings.allowed_cidrs.len());
        let mut errors = vec![];
        let mut fix = String::new();
        for (i, text) in settings.allowed_cidrs.iter().enumerate() {
            fix.push_str(if i == 0 { "use an address in " } else { " or " });
            fix.push_str(text);
            match parse(text) {
                Ok(block) => blocks.push(block),
                Err(message) => {
                    errors.push(SettingsError::new(format!("allowedCidrs[{i}]"), message))
                }
            }
        }
        if fix.is_empty() {
            fix.push_str("remove it");
        }
        if errors.is_empty() {
            Ok(Self { blocks, fix })
        } else {
            Err(errors)
        }
    }

    fn validate(&self, review: &Review) -> Verdict {
        // Each address has a key of its own. Beside that, only where its traffic leads counts, and
        // by which nodes and families, once the address has an effect.
        const WAYS: Widening = Widening::LEADS
            .or(Widening::TYPE)
            .or(Widening::NODES)
            .or(Widening::FAMILIES);
        let is_live = !review.service.live_external_ips().is_empty()
            || !asked(&review.service, Checked::Nothing).is_empty();
        let ways = if is_live { WAYS } else { Widening::NONE };
        let is_armed = is_armed(review);
        Verdict::of_update(
            review,
            Widening::between,
            |_| ways,
            |service| self.judge(service, is_armed),
        )
    }
}

/// A block, of which the address is the first one: anything else looks like a typo.
fn parse(text: &str) -> Result<Cidr, String> {
    match Cidr::parse(text) {
        None => Err(format!(
            "{} is no CIDR block; use one like 192.0.2.0/24 or 2001:db8::/32",
            quote(text)
        )),
        Some(block) if !block.is_exact() => Err(format!(
            "{} has bits beyond its prefix; write the block's first address",
            quote(text)
        )),
        Some(block) => Ok(block),
    }
}

/// KEP-5707: API servers warn about the field since 1.36, and are to ignore it in later versions.
const DEPRECATED: &str = "the field is deprecated since Kubernetes 1.36";

impl ExternalIps {
    fn judge(&self, service: &Service, is_armed: bool) -> Verdict {
        let mut verdict = Verdict::allow();
        let external_ips = &service.spec.external_ips;
        for (index, ip) in external_ips.iter().enumerate() {
            if let Some(message) = self.problem(ip, "external IPs are not allowed") {
                let violation =
                    Violation::new("S08", format!("spec.externalIPs[{index}]"), message);
                // To bring an external IP to life is an offence of its own, which nothing excuses.
                let key = if is_armed {
                    String::new()
                } else {
                    format!("externalIP:{ip}")
                };
                let fix = format!("{}; {DEPRECATED}", self.fix);
                verdict.violations.push(violation.key(key).fix(fix));
            }
        }
        let asked = asked(service, Checked::Nothing);
        if asked.len() == MAX_ASKED {
            verdict.violations.push(too_many(asked[0].key));
            return verdict;
        }
        let is_first = |i: usize, text: &str| {
            asked.iter().take(i).all(|asked| asked.text != text)
                && external_ips.iter().all(|ip| ip != text)
        };
        let asked = asked
            .iter()
            .enumerate()
            .filter(|(i, asked)| is_first(*i, asked.text));
        verdict
            .violations
            .extend(asked.filter_map(|(_, asked)| self.judge_asked(*asked)));
        verdict
    }

    /// An address that an annotation names. The controller writes it into the status, so that the
    /// cluster sends its traffic here.
    fn judge_asked(&self, asked: Asked<'_>) -> Option<Violation> {
        let message = self.problem(
            asked.text,
            "the controller takes any address, as from spec.externalIPs",
        )?;
        let violation = Violation::new("S08", annotation(asked.key), message);
        Some(
            violation
                .key(format!("externalIP:{}", asked.text))
                .fix(self.fix.as_str()),
        )
    }

    /// Returns why an address is not allowed, or `None`. `why_none` is the reason where no address
    /// is.
    fn problem(&self, ip: &str, why_none: &str) -> Option<String> {
        match Address::parse(ip) {
            Some(address) if self.blocks.iter().any(|block| block.contains(address)) => None,
            None => Some(format!("{} is no IP address in its usual form", quote(ip))),
            Some(_) if self.blocks.is_empty() => Some(format!("{}: {why_none}", quote(ip))),
            Some(_) => Some(format!("{} is in none of the allowed blocks", quote(ip))),
        }
    }
}

/// Returns an annotation's path. Its key is one of the tables', in some case: it needs no escapes,
/// and stands in full.
fn annotation(key: &str) -> String {
    format!("metadata.annotations[\"{key}\"]")
}

fn too_many(key: &str) -> Violation {
    let message = format!("annotations name {MAX_ASKED} addresses or more");
    Violation::new("S08", annotation(key), message).fix("name fewer")
}

/// Returns true if the update gives effect to external IPs that had none before.
fn is_armed(review: &Review) -> bool {
    let has_effect = |service: &Service| !service.live_external_ips().is_empty();
    review
        .old_service
        .as_ref()
        .is_some_and(|old| !has_effect(old))
        && has_effect(&review.service)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sallyport_policy::testing::*;

    fn policy(cidrs: &[&str]) -> Result<ExternalIps, Vec<SettingsError>> {
        ExternalIps::configure(Settings {
            allowed_cidrs: cidrs.iter().map(|&cidr| cidr.to_owned()).collect(),
        })
    }

    fn with(ips: &[&str]) -> Service {
        let mut service = cluster_ip("w");
        service.spec.external_ips = ips.iter().map(|&ip| ip.to_owned()).collect();
        service
    }

    fn denied(cidrs: &[&str], ips: &[&str]) -> Vec<String> {
        let policy = policy(cidrs).unwrap_or_else(|_| panic!("valid"));
        policy
            .validate(&create(with(ips)))
            .violations
            .into_iter()
            .map(|violation| violation.field)
            .collect()
    }

    #[test]
    fn none_is_allowed_unless_its_block_is() {
        assert_eq!(denied(&[], &["8.8.8.8"]), ["spec.externalIPs[0]"]);
        assert_eq!(
            denied(&["192.0.2.0/24"], &["192.0.2.7", "8.8.8.8"]),
            ["spec.externalIPs[1]"]
        );
        assert!(denied(&["2001:db8::/32"], &["2001:DB8::1"]).is_empty());
    }

    #[test]
    fn sloppy_spellings_are_allowed_only_if_they_mean_one_address() {
        assert_eq!(
            denied(&["0.0.0.0/0"], &["010.0.0.1", "10.1", "::ffff:8.8.8.8"]).len(),
            2
        );
        assert_eq!(denied(&["::/0"], &["::ffff:8.8.8.8"]).len(), 1);
    }

    #[test]
    fn an_address_that_comes_to_life_has_no_key() {
        let policy = policy(&[]).unwrap_or_else(|_| panic!("valid"));
        let mut headless = with(&["8.8.8.8"]);
        headless.spec.cluster_ip = Some("None".to_owned());
        let key = |old: Service, new: Service| {
            policy.validate(&update(old, new)).violations[0].key.clone()
        };
        assert_eq!(key(headless.clone(), with(&["8.8.8.8"])), "");
        assert_eq!(
            key(with(&["8.8.8.8"]), headless.clone()),
            "externalIP:8.8.8.8"
        );
        assert_eq!(key(headless.clone(), headless), "externalIP:8.8.8.8");
    }

    const AZURE: &str = "service.beta.kubernetes.io/azure-additional-public-ips";

    fn annotated(value: &str) -> Service {
        let mut service = load_balancer("w", 80);
        service.metadata.annotations = labels([(AZURE, value)]);
        service
    }

    #[test]
    fn an_annotation_for_any_address_counts_like_the_field() {
        let fields = |cidrs: &[&str], service: Service| {
            let policy = policy(cidrs).unwrap_or_else(|_| panic!("valid"));
            policy
                .validate(&create(service))
                .violations
                .into_iter()
                .map(|found| found.field)
                .collect::<Vec<_>>()
        };
        let field = format!("metadata.annotations[\"{AZURE}\"]");
        assert_eq!(fields(&[], annotated("8.8.8.8")), [field.as_str()]);
        assert_eq!(
            fields(&["192.0.2.0/24"], annotated("192.0.2.7, 8.8.8.8")),
            [field.as_str()]
        );
        let mut both = annotated("8.8.8.8,8.8.8.8");
        both.spec.external_ips = vec!["8.8.8.8".to_owned()];
        assert_eq!(fields(&[], both), ["spec.externalIPs[0]"]);
        let mut other = annotated("8.8.8.8");
        other.spec.type_ = Some(ServiceType::NodePort);
        assert!(fields(&[], other).is_empty());
    }

    #[test]
    fn thousands_of_addresses_are_one_offence() {
        let policy = policy(&[]).unwrap_or_else(|_| panic!("valid"));
        let many: Vec<_> = (0..20_000)
            .map(|i| format!("10.0.{}.{}", i / 256, i % 256))
            .collect();
        let found = policy
            .validate(&create(annotated(&many.join(","))))
            .violations;
        assert_eq!((found.len(), found[0].key.as_str()), (1, ""));
    }

    #[test]
    fn bad_blocks_are_refused_with_their_path() {
        let errors = policy(&["10.0.0.0/8", "10.0.0.1/8", "8.8.8.8", ""])
            .err()
            .unwrap_or_default();
        let paths: Vec<_> = errors.iter().map(|error| error.path.as_str()).collect();
        assert_eq!(
            paths,
            ["allowedCidrs[1]", "allowedCidrs[2]", "allowedCidrs[3]"]
        );
    }
}
