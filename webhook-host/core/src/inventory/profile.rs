//! Statements of an operator about the cluster, in place of what its objects tell.

use super::data::{ClusterData, EnvironmentData};
use crate::contract::review::{Cluster, Environment, PortRange, Provider};

/// An operator's statements about the cluster.
#[derive(Debug, Clone)]
pub(super) struct Profile {
    pub(super) environment: Option<Environment>,
    pub(super) node_ports: PortRange,
    /// True if it is a default that no operator wrote.
    pub(super) is_assumed: bool,
}

impl Profile {
    pub(super) fn with(&self, providers: Vec<Provider>) -> Cluster {
        Cluster {
            environment: self.environment,
            providers,
            node_ports: self.node_ports,
        }
    }
}

impl From<&ClusterData> for Profile {
    fn from(data: &ClusterData) -> Self {
        Self {
            environment: data.environment.map(|environment| match environment {
                EnvironmentData::Cloud => Environment::Cloud,
                EnvironmentData::OnPrem => Environment::OnPrem,
            }),
            node_ports: PortRange {
                from: data.node_ports.from,
                to: data.node_ports.to,
            },
            is_assumed: false,
        }
    }
}

/// Returns the cluster as seen by a policy that did not ask for it.
pub(crate) fn no_cluster() -> Cluster {
    Profile::from(&ClusterData::default()).with(vec![])
}
