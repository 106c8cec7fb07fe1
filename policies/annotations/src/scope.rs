//! The Services that an entry of the settings is about: by type and namespace.

use sallyport_policy::prelude::*;

/// The type and the namespace of a Service.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) of: ServiceType,
    pub(crate) namespace: &'a str,
}

/// Types and namespaces; each `None` means every one.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    types: Option<Vec<ServiceType>>,
    namespaces: Option<Vec<String>>,
}

impl Scope {
    /// Checks an entry's lists. `path` is the entry's.
    pub(crate) fn parse(
        types: Option<Vec<ServiceType>>,
        namespaces: Option<Vec<String>>,
        path: &str,
        errors: &mut Vec<SettingsError>,
    ) -> Self {
        for (list, is_empty) in [
            ("types", types.as_ref().is_some_and(Vec::is_empty)),
            ("namespaces", namespaces.as_ref().is_some_and(Vec::is_empty)),
        ] {
            if is_empty {
                let problem = "an empty list names none; leave it out for every one";
                errors.push(SettingsError::new(format!("{path}.{list}"), problem));
            }
        }
        let named = namespaces.iter().flatten().map(String::as_str);
        names::namespaces(&format!("{path}.namespaces"), named, errors);
        Self { types, namespaces }
    }

    pub(crate) fn has(&self, place: Place<'_>) -> bool {
        let has_type = |types: &Vec<ServiceType>| types.contains(&place.of);
        let has_namespace = |names: &Vec<String>| names.iter().any(|name| name == place.namespace);
        self.types.as_ref().is_none_or(has_type)
            && self.namespaces.as_ref().is_none_or(has_namespace)
    }

    /// Returns true if the scope is some namespaces.
    pub(crate) fn names_namespaces(&self) -> bool {
        self.namespaces.is_some()
    }

    /// Returns the types as a description's flags.
    pub(crate) fn about(&self) -> About {
        let every = || {
            vec![
                ServiceType::ClusterIp,
                ServiceType::NodePort,
                ServiceType::LoadBalancer,
                ServiceType::ExternalName,
            ]
        };
        let types = self.types.clone().unwrap_or_else(every);
        let flag = |of: ServiceType| match of {
            ServiceType::ClusterIp => About::CLUSTER_IP,
            ServiceType::NodePort => About::NODE_PORT,
            ServiceType::LoadBalancer => About::LOAD_BALANCER,
            ServiceType::ExternalName => About::EXTERNAL_NAME,
        };
        types
            .into_iter()
            .fold(About::empty(), |about, of| about | flag(of))
    }
}
