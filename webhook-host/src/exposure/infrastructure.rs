//! The infrastructures of a cluster's Nodes, and whether these serve LoadBalancer Services.

use super::provider;
use sallyport_core::contract::review::Provider;
use sallyport_facts::nodes::{self, INFRASTRUCTURE, Serves};

/// The infrastructures of all Nodes. Names are joined by `and`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Infrastructures {
    /// Clouds that serve LoadBalancer Services without a class.
    Clouds(String),
    /// Machines without a load balancer of their own.
    Others(String),
    /// No Node is known, the Nodes differ, or the table lacks one.
    Unknown,
}

impl Infrastructures {
    pub(crate) fn of(nodes: &[Provider]) -> Self {
        let row = |node: &Provider| {
            let id = provider(&node.id);
            let name = nodes::provider(&id)?;
            INFRASTRUCTURE.iter().find(|row| row.name == name)
        };
        let rows: Option<Vec<_>> = nodes.iter().map(row).collect();
        let rows = rows.unwrap_or_default();
        let names = || {
            let names: Vec<_> = rows.iter().map(|row| row.name).collect();
            names.join(" and ")
        };
        let all = |serves| !rows.is_empty() && rows.iter().all(|row| row.serves == serves);
        if all(Serves::Cloud) {
            Self::Clouds(names())
        } else if all(Serves::Nothing) {
            Self::Others(names())
        } else {
            Self::Unknown
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sallyport_core::contract::review::ProviderId;

    fn of(schemes: &[&str]) -> Infrastructures {
        let node = |scheme: &&str| Provider {
            id: ProviderId::Scheme((*scheme).to_owned()),
            nodes: 1,
        };
        Infrastructures::of(&schemes.iter().map(node).collect::<Vec<_>>())
    }

    #[test]
    fn nodes_that_differ_or_are_not_in_the_table_say_nothing() {
        assert_eq!(of(&["aws"]), Infrastructures::Clouds("aws".to_owned()));
        assert_eq!(
            of(&["aws", "gce"]),
            Infrastructures::Clouds("aws and gce".to_owned())
        );
        assert_eq!(
            of(&["vsphere"]),
            Infrastructures::Others("vsphere".to_owned())
        );
        for schemes in [&[][..], &["aws", "vsphere"], &["k3s"], &["aws", "k3s"]] {
            assert_eq!(of(schemes), Infrastructures::Unknown, "{schemes:?}");
        }
    }
}
