//! Node ports and health-check node ports within a range (S02).
//!
//! Only ports that are live for the Service's type count. Who chose a port matters: one that the
//! API server allocated can't be blamed on the client, and in a dry run it is invented.

mod ranges;

use ranges::{Ranges, static_band};
use sallyport_policy::prelude::*;
use sallyport_policy::review::PortRange;
use settings::AutoAssigned;
use std::cell::OnceCell;
use std::collections::BinaryHeap;

policy!(NodePortRange, "policy.wit", backstop = "backstop.yaml");

/// The ports that are allowed, per namespace.
pub struct NodePortRange {
    allowed: Ranges,
    per_namespace: Vec<(String, Ranges)>,
    auto_assigned: AutoAssigned,
    static_only: bool,
    include_health_check: bool,
}

impl Policy for NodePortRange {
    type Settings = Settings;

    fn describe() -> Description {
        Description::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
            .with_cluster()
            .about(About::NODE_PORTS)
    }

    fn defaults() -> Settings {
        Settings {
            ranges: vec![PortRange {
                from: 30000,
                to: 32767,
            }],
            reserved: vec![],
            per_namespace: vec![],
            auto_assigned: AutoAssigned::Check,
            static_only: false,
            include_health_check: true,
        }
    }

    fn configure(settings: Settings) -> Result<Self, Vec<SettingsError>> {
        let mut errors = vec![];
        names::namespaces(
            "perNamespace",
            settings.per_namespace.iter().map(|(name, _)| name.as_str()),
            &mut errors,
        );
        if !errors.is_empty() {
            return Err(errors);
        }
        let reserved = Ranges::parse("reserved", &settings.reserved)?;
        let allowed = allowed("ranges", &settings.ranges, &reserved)?;
        let per_namespace = settings.per_namespace.into_iter().map(|(name, ranges)| {
            let allowed = self::allowed(
                &format!("perNamespace[{}]", quote(&name)),
                &ranges,
                &reserved,
            )?;
            Ok::<_, Vec<SettingsError>>((name, allowed))
        });
        Ok(Self {
            per_namespace: per_namespace.collect::<Result<_, _>>()?,
            allowed,
            auto_assigned: settings.auto_assigned,
            static_only: settings.static_only,
            include_health_check: settings.include_health_check,
        })
    }

    fn validate(&self, review: &Review) -> Verdict {
        // Each port has a key of its own. Beside that, only where its traffic leads counts, and on
        // how many nodes and addresses of theirs it is open.
        const WAYS: Widening = Widening::SELECTED
            .or(Widening::TYPE)
            .or(Widening::NODES)
            .or(Widening::FAMILIES);
        Verdict::of_update(
            review,
            Widening::between,
            |_| WAYS,
            |service| self.judge(service, review),
        )
    }
}

impl NodePortRange {
    fn judge(&self, service: &Service, review: &Review) -> Verdict {
        let allowed =
            pairs::for_namespace(&self.per_namespace, &review.namespace.name, &self.allowed);
        let check = Check {
            policy: self,
            allowed,
            service,
            review,
            targets: OnceCell::new(),
            texts: OnceCell::new(),
        };
        let ports = service.live_node_ports();
        let counted =
            ports.filter(|port| self.include_health_check || port.used_as == UsedAs::NodePort);
        counted.filter_map(|port| check.judge(&port)).collect()
    }
}

/// Ranges without what is reserved; never empty.
fn allowed(
    path: &str,
    ranges: &[PortRange],
    reserved: &Ranges,
) -> Result<Ranges, Vec<SettingsError>> {
    let allowed = Ranges::parse(path, ranges)?.without(reserved);
    if allowed.is_empty() {
        let message = "allows no node port at all; add a range, or forbid NodePort with the policy \
            service-type";
        return Err(vec![SettingsError::new(path, message)]);
    }
    Ok(allowed)
}

/// The settings that apply to one review.
struct Check<'a> {
    policy: &'a NodePortRange,
    allowed: &'a Ranges,
    service: &'a Service,
    review: &'a Review,
    /// The targets of the old object's node ports, sorted.
    targets: OnceCell<Vec<Target<'a>>>,
    /// Made for the first offence; there may be thousands.
    texts: OnceCell<Texts>,
}

/// A node port (protocol, number), and the port of the Pods that it leads to (a number, or else a
/// name).
type Target<'a> = (&'a str, i32, (i32, &'a str));

/// Texts that all violations of a review share.
struct Texts {
    allowed: String,
    /// The advice for a port that a client chose.
    fix: String,
    /// Ports that a client may choose, if there are any.
    choice: Option<String>,
}

/// The advice where the settings leave no port to choose.
const NONE_LEFT: &str = "ask for other settings: ranges and staticOnly leave no port to choose";

/// The reason why ports of the static band are recommended (KEP-3668).
const WHY_STATIC_BAND: &str = "static band: the API server allocates other ports first";

impl Check<'_> {
    fn judge(&self, port: &NodePortInUse<'_>) -> Option<Violation> {
        let (message, fix) = if port.by_client {
            self.judge_chosen(port.number)?
        } else {
            self.judge_assigned(port)?
        };
        // A port that leads elsewhere than before is an offence of its own, which nothing excuses.
        let key = if self.leads_elsewhere(port) {
            String::new()
        } else {
            port.key()
        };
        Some(
            Violation::new("S02", port.field(), message)
                .key(key)
                .fix(fix),
        )
    }

    fn leads_elsewhere(&self, node_port: &NodePortInUse<'_>) -> bool {
        let Some(old) = &self.review.old_service else {
            return false;
        };
        let port = self.service.spec.ports.get(node_port.index);
        let Some(port) = port.filter(|_| node_port.used_as == UsedAs::NodePort) else {
            return false;
        };
        let (protocol, number) = (node_port.protocol, node_port.number);
        let before = self.targets.get_or_init(|| targets(old));
        let stood = before
            .binary_search_by(|old| (old.0, old.1).cmp(&(protocol, number)))
            .is_ok();
        stood
            && before
                .binary_search(&(protocol, number, port.target()))
                .is_err()
    }

    fn judge_chosen(&self, number: i32) -> Option<(String, String)> {
        let message = match self.band().filter(|_| self.policy.static_only) {
            _ if !self.allowed.contains(number) => {
                format!("{number} is outside {}", self.texts().allowed)
            }
            Some(band) if !Ranges::contains_in(band, number) => {
                format!(
                    "{number} is outside the static band {}-{}",
                    band.from, band.to
                )
            }
            _ => return None,
        };
        Some((message, self.texts().fix.clone()))
    }

    /// A dry run invents ports, from 32769 up, so that only the rule against any allocation can
    /// hold there.
    fn judge_assigned(&self, port: &NodePortInUse<'_>) -> Option<(String, String)> {
        let number = port.number;
        let message = match self.policy.auto_assigned {
            AutoAssigned::Check if !self.review.dry_run && !self.allowed.contains(number) => {
                format!(
                    "auto-assigned {number}, but only {} is allowed",
                    self.texts().allowed
                )
            }
            AutoAssigned::Deny => {
                format!("auto-assigned {number}, but clients must choose their ports here")
            }
            _ => return None,
        };
        let field = match port.used_as {
            UsedAs::NodePort => "nodePort",
            UsedAs::HealthCheck => "healthCheckNodePort",
        };
        let choose = |choice| format!("set {field} explicitly to {choice}");
        Some((
            message,
            self.texts()
                .choice
                .as_ref()
                .map_or_else(|| NONE_LEFT.to_owned(), choose),
        ))
    }

    fn band(&self) -> Option<PortRange> {
        static_band(self.review.cluster.node_ports)
    }

    fn texts(&self) -> &Texts {
        self.texts.get_or_init(|| {
            let choice = self.choice();
            let fix = match (&choice, self.assigns_well()) {
                (Some(choice), true) => format!("remove the field or use {choice}"),
                (Some(choice), false) => format!("use {choice}"),
                (None, true) => "remove the field".to_owned(),
                (None, false) => NONE_LEFT.to_owned(),
            };
            Texts {
                allowed: self.allowed.to_string(),
                fix,
                choice,
            }
        })
    }

    /// Returns true if every port that the API server may allocate is allowed.
    fn assigns_well(&self) -> bool {
        match self.policy.auto_assigned {
            AutoAssigned::Allow => true,
            AutoAssigned::Check => self.allowed.covers(self.review.cluster.node_ports),
            AutoAssigned::Deny => false,
        }
    }

    /// Recommends ports of the static band where some are allowed, since the API server takes them
    /// last; else any that are allowed, unless only the static band is.
    fn choice(&self) -> Option<String> {
        let Some(band) = self.band() else {
            return Some(self.allowed.to_string());
        };
        match self.allowed.within(band).some() {
            Some(ports) => Some(format!("{ports} ({WHY_STATIC_BAND})")),
            None if self.policy.static_only => None,
            None => Some(self.allowed.to_string()),
        }
    }
}

fn targets(service: &Service) -> Vec<Target<'_>> {
    let mut targets = BinaryHeap::new();
    for node_port in service.live_node_ports() {
        if let (UsedAs::NodePort, Some(port)) =
            (node_port.used_as, service.spec.ports.get(node_port.index))
        {
            targets.push((node_port.protocol, node_port.number, port.target()));
        }
    }
    targets.into_sorted_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sallyport_policy::testing::*;

    fn configured(change: impl FnOnce(&mut Settings)) -> NodePortRange {
        let mut settings = NodePortRange::defaults();
        change(&mut settings);
        NodePortRange::configure(settings).unwrap_or_else(|errors| panic!("{errors:?}"))
    }

    fn narrow(settings: &mut Settings) {
        settings.ranges = vec![PortRange {
            from: 30100,
            to: 30199,
        }];
    }

    fn assigned(number: i32) -> Service {
        let mut service = node_port("w", 80, number);
        service.spec.ports[0].node_port_by_client = false;
        service
    }

    fn text(verdict: &Verdict) -> String {
        verdict
            .violations
            .iter()
            .map(|v| format!("{}: {}; {}", v.field, v.message, v.fix))
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn both_ends_of_a_range_belong_to_it() {
        let policy = configured(|_| {});
        for (port, violations) in [(29999, 1), (30000, 0), (32767, 0), (32768, 1), (-1, 1)] {
            assert_eq!(
                policy
                    .validate(&create(node_port("w", 80, port)))
                    .violations
                    .len(),
                violations,
                "{port}"
            );
        }
    }

    #[test]
    fn the_message_names_the_static_band() {
        let verdict = configured(|_| {}).validate(&create(node_port("w", 80, 29999)));
        let expected = "spec.ports[0].nodePort: 29999 is outside 30000-32767; remove the field or \
            use 30000-30085 (static band: the API server allocates other ports first)";
        assert_eq!(text(&verdict), expected);
    }

    #[test]
    fn the_fix_names_the_static_band_only_for_its_own_ports() {
        let fix = |from, to, cluster_to| {
            let policy = configured(|s| {
                s.ranges = vec![PortRange { from, to }];
                s.auto_assigned = AutoAssigned::Deny;
            });
            let mut review = create(node_port("w", 80, 29999));
            review.cluster.node_ports.to = cluster_to;
            policy.validate(&review).violations.remove(0).fix
        };
        let why = " (static band: the API server allocates other ports first)";
        assert_eq!(fix(30085, 30086, 32767), format!("use 30085{why}"));
        assert_eq!(fix(30086, 30087, 32767), "use 30086-30087");
        assert_eq!(fix(30000, 30016, 30016), format!("use 30000-30015{why}"));
        assert_eq!(fix(30000, 30015, 30015), "use 30000-30015");
    }

    #[test]
    fn a_range_narrower_than_the_clusters_makes_allocation_a_lottery() {
        let verdict = configured(narrow).validate(&create(assigned(31234)));
        let expected = "spec.ports[0].nodePort: auto-assigned 31234, but only 30100-30199 is \
            allowed; set nodePort explicitly to 30100-30199";
        assert_eq!(text(&verdict), expected);
        let allow = configured(|s| {
            narrow(s);
            s.auto_assigned = AutoAssigned::Allow;
        });
        assert_eq!(allow.validate(&create(assigned(31234))), Verdict::allow());
    }

    #[test]
    fn clients_that_must_choose_get_no_assigned_port() {
        let deny = configured(|s| s.auto_assigned = AutoAssigned::Deny);
        let expected = "spec.ports[0].nodePort: auto-assigned 31000, but clients must choose their \
            ports here; \
            set nodePort explicitly to 30000-30085 (static band: the API server allocates other \
            ports first)";
        assert_eq!(text(&deny.validate(&create(assigned(31000)))), expected);
    }

    #[test]
    fn no_port_is_recommended_that_would_be_denied() {
        let policy = configured(|s| {
            narrow(s);
            s.static_only = true;
        });
        let verdict = policy.validate(&create(node_port("w", 80, 30150)));
        let expected = "spec.ports[0].nodePort: 30150 is outside the static band 30000-30085; \
            ask for other settings: ranges and staticOnly leave no port to choose";
        assert_eq!(text(&verdict), expected);
    }

    #[test]
    fn a_dry_run_invents_ports_but_what_a_client_chose_counts() {
        let policy = configured(|_| {});
        let dry = |service| create(service).in_dry_run();
        assert_eq!(policy.validate(&dry(assigned(32769))), Verdict::allow());
        assert_eq!(
            policy
                .validate(&dry(node_port("w", 80, 80)))
                .violations
                .len(),
            1
        );
        let deny = configured(|s| s.auto_assigned = AutoAssigned::Deny);
        assert_eq!(deny.validate(&dry(assigned(32769))).violations.len(), 1);
    }

    #[test]
    fn the_static_band_is_for_chosen_ports_only() {
        let policy = configured(|s| s.static_only = true);
        assert!(
            text(&policy.validate(&create(node_port("w", 80, 30090))))
                .contains("outside the static band 30000-30085")
        );
        assert_eq!(
            policy.validate(&create(node_port("w", 80, 30085))),
            Verdict::allow()
        );
        assert_eq!(policy.validate(&create(assigned(30050))), Verdict::allow());
    }

    #[test]
    fn reserved_ports_are_not_allowed() {
        let policy = configured(|s| {
            s.reserved = vec![PortRange {
                from: 30080,
                to: 30080,
            }]
        });
        assert!(
            text(&policy.validate(&create(node_port("w", 80, 30080))))
                .contains("30080 is outside 30000-30079, 30081-32767")
        );
    }

    #[test]
    fn settings_that_allow_nothing_are_refused_with_their_path() {
        let refused = |change: fn(&mut Settings)| {
            let mut settings = NodePortRange::defaults();
            change(&mut settings);
            let errors = NodePortRange::configure(settings).err().unwrap_or_default();
            errors
                .into_iter()
                .map(|error| error.path)
                .collect::<Vec<_>>()
        };
        assert_eq!(refused(|s| s.ranges = vec![]), ["ranges"]);
        assert_eq!(
            refused(|s| s.ranges = vec![PortRange { from: 0, to: 1 }]),
            ["ranges[0].from"]
        );
        assert_eq!(
            refused(|s| s.ranges.push(PortRange { from: 2, to: 1 })),
            ["ranges[1]"]
        );
        assert_eq!(
            refused(|s| s.per_namespace = vec![("a".into(), vec![])]),
            ["perNamespace[\"a\"]"]
        );
        assert_eq!(refused(|s| s.reserved = s.ranges.clone()), ["ranges"]);
    }
}
