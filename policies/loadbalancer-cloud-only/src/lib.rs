//! LoadBalancer Services only where something serves them (S03), and only of the classes that are
//! wanted (S12).
//!
//! A LoadBalancer that nothing serves stays `<pending>` for ever, with node ports open. An explicit
//! setting decides first, then an allowed class, then the Nodes. An existing load balancer stays
//! editable: the host ratchets by key.

mod environment;

use environment::{Served, clouds};
use sallyport_facts::nodes::INFRASTRUCTURE;
use sallyport_facts::{keys, reach};
use sallyport_policy::prelude::*;
use settings::{Environment, OnUnknown, Quantifier};

policy!(
    LoadBalancerCloudOnly,
    "policy.wit",
    backstop = "backstop.yaml"
);

/// The policy, with its settings.
pub struct LoadBalancerCloudOnly(Settings);

impl Policy for LoadBalancerCloudOnly {
    type Settings = Settings;

    fn describe() -> Description {
        Description::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
            .with_cluster()
            .about(About::LOAD_BALANCER)
            .compares_annotations(keys::of_load_balancers())
    }

    fn defaults() -> Settings {
        Settings {
            environment: Environment::Auto,
            schemes: clouds(),
            quantifier: Quantifier::All,
            on_unknown: OnUnknown::Deny,
            allowed_classes: vec![],
            allow_classless: false,
            require_class: false,
        }
    }

    fn configure(settings: Settings) -> Result<Self, Vec<SettingsError>> {
        let mut errors = vec![];
        names::exact("schemes", &settings.schemes, &mut errors);
        names::classes("allowedClasses", &settings.allowed_classes, &mut errors);
        let is_url = |scheme: &String| scheme.bytes().any(|byte| matches!(byte, b':' | b'/'));
        for (i, scheme) in settings.schemes.iter().enumerate() {
            if let Some(known) = other_case(scheme) {
                let problem = format!(
                    "{} matches nothing, since schemes are compared exactly; write {known}",
                    quote(scheme)
                );
                errors.push(SettingsError::new(format!("schemes[{i}]"), problem));
            }
        }
        for (i, scheme) in settings
            .schemes
            .iter()
            .enumerate()
            .filter(|(_, scheme)| is_url(scheme))
        {
            let problem = format!(
                "{} matches nothing; write what stands before ://",
                quote(scheme)
            );
            errors.push(SettingsError::new(format!("schemes[{i}]"), problem));
        }
        if settings.require_class && settings.allow_classless {
            errors.push(SettingsError::new(
                "requireClass",
                "contradicts allowClassless: true; keep one of them",
            ));
        }
        if errors.is_empty() {
            Ok(Self(settings))
        } else {
            Err(errors)
        }
    }

    fn validate(&self, review: &Review) -> Verdict {
        Verdict::of_update(
            review,
            reach::widening,
            |_| Widening::ANY,
            |service| self.judge(service, review),
        )
    }
}

/// Returns the infrastructure whose name is the same in another case.
fn other_case(scheme: &str) -> Option<&'static str> {
    let is_it = |name: &&str| *name != scheme && name.eq_ignore_ascii_case(scheme);
    INFRASTRUCTURE.iter().map(|row| row.name).find(is_it)
}

impl LoadBalancerCloudOnly {
    fn judge(&self, service: &Service, review: &Review) -> Verdict {
        if service.service_type() != ServiceType::LoadBalancer {
            return Verdict::allow();
        }
        let violation = match service.spec.load_balancer_class.as_deref() {
            Some(class) => self.judge_class(class, review),
            None => self.judge_classless(review),
        };
        violation.into_iter().collect()
    }

    fn judge_class(&self, class: &str, review: &Review) -> Option<Violation> {
        let allowed = &self.0.allowed_classes;
        if allowed.iter().any(|allowed| allowed == class) {
            return None;
        }
        let field = "spec.loadBalancerClass";
        let violation = if allowed.is_empty() {
            let Served::No(why) = Served::by(&self.0, &review.cluster) else {
                return None;
            };
            Violation::new(
                "S03",
                field,
                format!(
                    "nothing is known to serve the class {} here: {why}",
                    quote(class)
                ),
            )
            .fix("use type ClusterIP, or ask for the class to be allowed")
        } else {
            Violation::new(
                "S12",
                field,
                format!("{} is not among the allowed classes", quote(class)),
            )
            .fix(format!("use {}", quoted_list(allowed)))
        };
        Some(violation.key(format!("LoadBalancer:{class}")))
    }

    fn judge_classless(&self, review: &Review) -> Option<Violation> {
        let violation = if self.0.require_class {
            Violation::new(
                "S12",
                "spec.loadBalancerClass",
                "a LoadBalancer must name its class",
            )
            .fix(self.name_a_class())
        } else if self.0.allow_classless {
            return None;
        } else {
            let Served::No(why) = Served::by(&self.0, &review.cluster) else {
                return None;
            };
            let class = if self.0.allowed_classes.is_empty() {
                String::new()
            } else {
                format!(", or {}", self.name_a_class())
            };
            Violation::new(
                "S03",
                "spec.type",
                format!("nothing serves a LoadBalancer here: {why}"),
            )
            .fix(format!("use ClusterIP or NodePort{class}"))
        };
        Some(violation.key("LoadBalancer:"))
    }

    fn name_a_class(&self) -> String {
        let allowed = &self.0.allowed_classes;
        if allowed.is_empty() {
            return "set spec.loadBalancerClass".to_owned();
        }
        format!("set spec.loadBalancerClass to {}", quoted_list(allowed))
    }
}

fn quoted_list(texts: &[String]) -> String {
    texts
        .iter()
        .map(|text| quote(text))
        .collect::<Vec<_>>()
        .join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use sallyport_policy::review::{Environment as Profile, Provider, ProviderId};
    use sallyport_policy::testing::*;

    fn configured(change: impl FnOnce(&mut Settings)) -> LoadBalancerCloudOnly {
        let mut settings = LoadBalancerCloudOnly::defaults();
        change(&mut settings);
        LoadBalancerCloudOnly::configure(settings).unwrap_or_else(|errors| panic!("{errors:?}"))
    }

    fn on(ids: &[&str]) -> Review {
        let mut review = create(load_balancer("w", 80));
        review.cluster.providers = ids
            .iter()
            .map(|id| match *id {
                "" => ProviderId::Missing,
                bare @ ("ocid1" | "cn-hangzhou" | "us-west-9") => ProviderId::Bare(bare.into()),
                scheme => ProviderId::Scheme(scheme.into()),
            })
            .map(|id| Provider { id, nodes: 3 })
            .collect();
        review
    }

    fn message(verdict: &Verdict) -> &str {
        verdict
            .violations
            .first()
            .map_or("", |violation| violation.message.as_str())
    }

    #[test]
    fn nodes_of_a_cloud_are_enough_and_others_are_named() {
        let policy = configured(|_| {});
        for cloud in ["aws", "gce", "ocid1", "cn-hangzhou"] {
            assert_eq!(policy.validate(&on(&[cloud])), Verdict::allow(), "{cloud}");
        }
        for (ids, why) in [
            (
                &["rke2"][..],
                "unknown provider rke2; set environment explicitly",
            ),
            (
                &["us-west-9"],
                "unknown provider us-west-9; set environment explicitly",
            ),
            (&["AWS"], "unknown provider AWS; set environment explicitly"),
            (
                &["vsphere"],
                "the Nodes are on vsphere, which has no load balancer of its own",
            ),
            (
                &["aws", "k3s"],
                "unknown provider k3s; set environment explicitly",
            ),
            (
                &[""],
                "unknown provider (Nodes without providerID); set environment explicitly",
            ),
            (
                &[],
                "Sallyport knows none of the cluster's Nodes, so it sees no cloud",
            ),
        ] {
            assert_eq!(
                message(&policy.validate(&on(ids))),
                format!("nothing serves a LoadBalancer here: {why}")
            );
        }
    }

    #[test]
    fn a_cloud_without_a_scheme_has_two_names() {
        for scheme in ["oci", "ocid1"] {
            let policy = configured(|s| s.schemes = vec![scheme.into()]);
            assert_eq!(
                policy.validate(&on(&["ocid1"])),
                Verdict::allow(),
                "{scheme}"
            );
        }
    }

    #[test]
    fn one_node_can_be_enough_and_the_unknown_can_be_allowed() {
        assert_eq!(
            configured(|s| s.quantifier = Quantifier::Any).validate(&on(&["aws", "k3s"])),
            Verdict::allow()
        );
        let allow = configured(|s| s.on_unknown = OnUnknown::Allow);
        assert_eq!(allow.validate(&on(&[""])), Verdict::allow());
        assert_eq!(allow.validate(&on(&["vsphere"])).violations.len(), 1);
    }

    #[test]
    fn setting_wins_over_profile_and_profile_over_nodes() {
        let mut review = on(&["vsphere"]);
        review.cluster.environment = Some(Profile::Cloud);
        assert_eq!(configured(|_| {}).validate(&review), Verdict::allow());
        let on_prem = configured(|s| s.environment = Environment::OnPrem).validate(&review);
        assert_eq!(
            message(&on_prem),
            "nothing serves a LoadBalancer here: the policy's environment is onPrem"
        );
    }

    #[test]
    fn an_allowed_class_is_served_anywhere_and_no_other_is() {
        let policy = configured(|s| {
            s.environment = Environment::OnPrem;
            s.allowed_classes = vec!["internal-vip".into()];
        });
        let judge = |class: &str| {
            let mut service = load_balancer("w", 80);
            service.spec.load_balancer_class = Some(class.into());
            policy
                .validate(&create(service))
                .violations
                .into_iter()
                .map(|v| (v.rule, v.field))
                .collect::<Vec<_>>()
        };
        assert_eq!(judge("internal-vip"), []);
        assert_eq!(
            judge("Internal-VIP"),
            [("S12".to_owned(), "spec.loadBalancerClass".to_owned())]
        );
    }

    #[test]
    fn other_types_are_none_of_its_business() {
        let policy = configured(|s| s.environment = Environment::OnPrem);
        assert_eq!(
            policy.validate(&create(node_port("w", 80, 30080))),
            Verdict::allow()
        );
    }

    #[test]
    fn contradictory_settings_are_refused_with_their_path() {
        let mut settings = LoadBalancerCloudOnly::defaults();
        settings.require_class = true;
        settings.allow_classless = true;
        settings.allowed_classes = vec![String::new()];
        let errors = LoadBalancerCloudOnly::configure(settings)
            .err()
            .unwrap_or_default();
        let paths: Vec<_> = errors.into_iter().map(|error| error.path).collect();
        assert_eq!(paths, ["allowedClasses[0]", "requireClass"]);
    }
}
