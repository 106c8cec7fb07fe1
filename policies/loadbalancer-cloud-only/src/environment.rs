//! Does something here serve LoadBalancer Services that name no class?
//!
//! That is not the same as running on a cloud's machines, and the Nodes can only hint at it: an
//! explicit word wins.

use super::settings::{Environment, OnUnknown, Quantifier, Settings};
use sallyport_facts::nodes::{self, INFRASTRUCTURE, Serves};
use sallyport_policy::quote;
use sallyport_policy::review::{Cluster, Environment as Profile, Provider, ProviderId};

/// Beginnings of a providerID whose cloud serves LoadBalancer Services.
pub(crate) fn clouds() -> Vec<String> {
    let clouds = INFRASTRUCTURE
        .iter()
        .filter(|row| row.serves == Serves::Cloud);
    clouds.map(|row| row.name.to_owned()).collect()
}

/// The answer, with its reason where it is no.
pub(crate) enum Served {
    Yes,
    No(String),
}

impl Served {
    pub(crate) fn by(settings: &Settings, cluster: &Cluster) -> Self {
        match (settings.environment, cluster.environment) {
            (Environment::Cloud, _) | (Environment::Auto, Some(Profile::Cloud)) => Self::Yes,
            (Environment::OnPrem, _) => Self::No("the policy's environment is onPrem".to_owned()),
            (Environment::Auto, Some(Profile::OnPrem)) => {
                Self::No("the cluster's environment is onPrem".to_owned())
            }
            (Environment::Auto, None) => Self::by_nodes(settings, &cluster.providers),
        }
    }

    fn by_nodes(settings: &Settings, providers: &[Provider]) -> Self {
        let is_cloud = |provider: &&Provider| {
            let names = [provider.id.text(), nodes::provider(&provider.id)];
            names
                .into_iter()
                .flatten()
                .any(|name| settings.schemes.iter().any(|scheme| scheme == name))
        };
        let clouds = providers.iter().filter(is_cloud).count();
        let enough = match settings.quantifier {
            Quantifier::All => clouds == providers.len() && clouds > 0,
            Quantifier::Any => clouds > 0,
        };
        if enough {
            return Self::Yes;
        }
        let mut others = providers.iter().filter(|provider| !is_cloud(provider));
        match others.clone().find(|provider| is_known(&provider.id)) {
            Some(known) => Self::No(format!(
                "the Nodes are on {}, which has no load balancer of its own",
                name(&known.id)
            )),
            None if settings.on_unknown == OnUnknown::Allow => Self::Yes,
            None => Self::No(others.next().map_or_else(
                || "Sallyport knows none of the cluster's Nodes, so it sees no cloud".to_owned(),
                |unknown| {
                    format!(
                        "unknown provider {}; set environment explicitly",
                        name(&unknown.id)
                    )
                },
            )),
        }
    }
}

fn is_known(id: &ProviderId) -> bool {
    let ProviderId::Scheme(scheme) = id else {
        return false;
    };
    INFRASTRUCTURE
        .iter()
        .any(|row| row.serves == Serves::Nothing && row.name == scheme)
}

/// A provider in a message; its text comes from a Node.
fn name(id: &ProviderId) -> String {
    match id {
        ProviderId::Scheme(text) | ProviderId::Bare(text) if is_plain(text) => text.clone(),
        ProviderId::Scheme(text) | ProviderId::Bare(text) => quote(text),
        ProviderId::Missing => "(Nodes without providerID)".to_owned(),
    }
}

fn is_plain(text: &str) -> bool {
    text.len() <= 32 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}
