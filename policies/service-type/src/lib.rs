//! Restricts the Service types that a namespace may use (S01), and sets ClusterIP where a manifest
//! names no type (M1).

use sallyport_facts::{keys, reach};
use sallyport_policy::prelude::*;

policy!(ServiceTypes, "policy.wit", backstop = "backstop.yaml");

/// The types that are allowed, per namespace.
pub struct ServiceTypes(Settings);

impl Policy for ServiceTypes {
    type Settings = Settings;

    fn describe() -> Description {
        Description::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
            .mutating()
            .compares_annotations(keys::of_load_balancers())
    }

    /// About those that some namespace may not use, and those that have none.
    fn describe_configured(&self) -> Description {
        let lists = || {
            std::iter::once(&self.0.allowed_types)
                .chain(self.0.per_namespace.iter().map(|(_, types)| types))
        };
        let denied = |found: &ServiceType| lists().any(|types| !types.contains(found));
        let kinds = [
            (ServiceType::ClusterIp, About::CLUSTER_IP),
            (ServiceType::NodePort, About::NODE_PORT),
            (ServiceType::LoadBalancer, About::LOAD_BALANCER),
            (ServiceType::ExternalName, About::EXTERNAL_NAME),
        ];
        let denied = kinds.into_iter().filter(|(found, _)| denied(found));
        Self::describe().about(denied.fold(About::TYPE_UNSET, |about, (_, kind)| about | kind))
    }

    fn defaults() -> Settings {
        use ServiceType::{ClusterIp, ExternalName, LoadBalancer, NodePort};
        Settings {
            allowed_types: vec![ClusterIp, NodePort, LoadBalancer, ExternalName],
            per_namespace: vec![],
        }
    }

    fn configure(settings: Settings) -> Result<Self, Vec<SettingsError>> {
        let common = ("allowedTypes".to_owned(), settings.allowed_types.as_slice());
        let own = settings
            .per_namespace
            .iter()
            .map(|(name, types)| (format!("perNamespace[{}]", quote(name)), types.as_slice()));
        let empty = std::iter::once(common)
            .chain(own)
            .filter(|(_, types)| types.is_empty());
        let mut errors: Vec<_> = empty
            .map(|(path, _)| {
                SettingsError::new(
                    path,
                    "an empty list allows no Service at all; name at least one type",
                )
            })
            .collect();
        names::namespaces(
            "perNamespace",
            settings.per_namespace.iter().map(|(name, _)| name.as_str()),
            &mut errors,
        );
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
            |service| self.judge(service, &review.namespace.name),
        )
    }

    /// Only raw manifests can lack a type: a live API server has set the default before any webhook
    /// runs.
    fn mutate(&self, review: &Review) -> Mutation {
        let mut patch = Patch::new(&review.service);
        if review.service.spec.type_.is_none() {
            patch.set_type(ServiceType::ClusterIp);
        }
        patch.finish()
    }
}

impl ServiceTypes {
    fn judge(&self, service: &Service, namespace: &str) -> Verdict {
        let found = service.service_type();
        let allowed = pairs::for_namespace(&self.0.per_namespace, namespace, &self.0.allowed_types);
        if allowed.contains(&found) {
            return Verdict::allow();
        }
        let namespace = quote(namespace);
        let names = allowed
            .iter()
            .map(|allowed| allowed.as_str())
            .collect::<Vec<_>>()
            .join(" or ");
        let violation = Violation::new(
            "S01",
            "spec.type",
            format!("{found} is not allowed in namespace {namespace}"),
        );
        Verdict::deny(violation.key(found.as_str()).fix(format!("use {names}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sallyport_policy::testing::*;

    fn policy(allowed: &[ServiceType], edge: &[ServiceType]) -> ServiceTypes {
        let per_namespace = vec![("edge".to_owned(), edge.to_vec())];
        ServiceTypes::configure(Settings {
            allowed_types: allowed.to_vec(),
            per_namespace,
        })
        .unwrap_or_else(|_| panic!("valid"))
    }

    #[test]
    fn the_default_allows_every_type() {
        let policy =
            ServiceTypes::configure(ServiceTypes::defaults()).unwrap_or_else(|_| panic!("valid"));
        for service in [
            cluster_ip("a"),
            node_port("b", 80, 30080),
            load_balancer("c", 80),
        ] {
            assert_eq!(policy.validate(&create(service)), Verdict::allow());
        }
    }

    #[test]
    fn another_type_is_denied_with_what_is_allowed() {
        let verdict = policy(&[ServiceType::ClusterIp], &[ServiceType::NodePort])
            .validate(&create(node_port("w", 80, 30080)));
        let violation = &verdict.violations[0];
        assert_eq!(
            violation.message,
            r#"NodePort is not allowed in namespace "default""#
        );
        assert_eq!(violation.fix, "use ClusterIP");
    }

    #[test]
    fn a_namespace_of_its_own_wins() {
        let mut service = node_port("w", 80, 30080);
        service.metadata.namespace = "edge".into();
        let policy = policy(&[ServiceType::ClusterIp], &[ServiceType::NodePort]);
        assert_eq!(policy.validate(&create(service)), Verdict::allow());
    }

    #[test]
    fn empty_lists_are_refused_with_their_path() {
        let settings = Settings {
            allowed_types: vec![],
            per_namespace: vec![("edge".into(), vec![])],
        };
        let errors = ServiceTypes::configure(settings).err().unwrap_or_default();
        let paths: Vec<_> = errors.iter().map(|error| error.path.as_str()).collect();
        assert_eq!(paths, ["allowedTypes", "perNamespace[\"edge\"]"]);
    }

    #[test]
    fn a_missing_type_becomes_cluster_ip() {
        let policy = policy(&[ServiceType::ClusterIp], &[ServiceType::NodePort]);
        let mut service = cluster_ip("w");
        service.spec.type_ = None;
        assert_eq!(policy.mutate(&mutating(create(service))).patch.len(), 1);
        assert_eq!(
            policy.mutate(&mutating(create(cluster_ip("w")))),
            Mutation::default()
        );
    }
}
