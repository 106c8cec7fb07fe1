//! Exposed Services need a selector (S15).
//!
//! Without one, nobody but the author of its EndpointSlices says where the way leads: to any
//! address that the nodes or the load balancer can reach, in another namespace or outside the
//! cluster (CVE-2021-25740).

use sallyport_facts::{keys, reach};
use sallyport_policy::prelude::*;
use settings::ExposedType;

policy!(Selectorless, "policy.wit", backstop = "backstop.yaml");

/// The types that need a selector.
pub struct Selectorless(Vec<ExposedType>);

impl Policy for Selectorless {
    type Settings = Settings;

    fn describe() -> Description {
        Description::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
            .about(About::SELECTORLESS)
            .compares_annotations(keys::of_load_balancers())
    }

    fn defaults() -> Settings {
        Settings {
            types: vec![ExposedType::NodePort, ExposedType::LoadBalancer],
        }
    }

    fn configure(settings: Settings) -> Result<Self, Vec<SettingsError>> {
        if settings.types.is_empty() {
            let message = "an empty list checks nothing; name NodePort, LoadBalancer or both, or \
                remove the policy";
            return Err(vec![SettingsError::new("types", message)]);
        }
        Ok(Self(settings.types))
    }

    fn validate(&self, review: &Review) -> Verdict {
        Verdict::of_update(
            review,
            reach::widening,
            |_| Widening::ANY,
            |service| self.judge(service),
        )
    }
}

impl Selectorless {
    fn judge(&self, service: &Service) -> Verdict {
        let found = service.service_type();
        if !service.spec.selector.is_empty()
            || !self.0.iter().any(|needs| service_type(*needs) == found)
        {
            return Verdict::allow();
        }
        let message = format!(
            "a {found} must have a selector: without one it leads wherever its EndpointSlices say"
        );
        let fix = "name the labels of the Pods that it is for, or use type ClusterIP";
        Verdict::deny(
            Violation::new("S15", "spec.selector", message)
                .key(found.as_str())
                .fix(fix),
        )
    }
}

fn service_type(exposed: ExposedType) -> ServiceType {
    match exposed {
        ExposedType::NodePort => ServiceType::NodePort,
        ExposedType::LoadBalancer => ServiceType::LoadBalancer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sallyport_policy::testing::*;

    fn policy(types: &[ExposedType]) -> Selectorless {
        Selectorless::configure(Settings {
            types: types.to_vec(),
        })
        .unwrap_or_else(|_| panic!("valid"))
    }

    #[test]
    fn an_exposed_service_needs_a_selector() {
        let policy = policy(&Selectorless::defaults().types);
        let violation = &policy
            .validate(&create(node_port("w", 80, 30080)))
            .violations[0];
        assert_eq!(
            (violation.field.as_str(), violation.key.as_str()),
            ("spec.selector", "NodePort")
        );
        let mut service = load_balancer("w", 80);
        assert_eq!(
            policy.validate(&create(service.clone())).violations.len(),
            1
        );
        service.spec.selector = labels([("app", "w")]);
        assert_eq!(policy.validate(&create(service)), Verdict::allow());
    }

    #[test]
    fn other_types_need_none() {
        let policy = policy(&[ExposedType::LoadBalancer]);
        assert_eq!(policy.validate(&create(cluster_ip("w"))), Verdict::allow());
        assert_eq!(
            policy.validate(&create(node_port("w", 80, 30080))),
            Verdict::allow()
        );
    }

    #[test]
    fn an_empty_list_is_refused() {
        let errors = Selectorless::configure(Settings { types: vec![] })
            .err()
            .unwrap_or_default();
        assert_eq!(errors[0].path, "types");
    }
}
