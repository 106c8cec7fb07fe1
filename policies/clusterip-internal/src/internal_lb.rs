//! Checks that a load balancer is internal on every cloud that the Nodes are on.

use sallyport_facts::voids::{BESIDE, Voided, voiding};
use sallyport_facts::{internal, nodes};
use sallyport_policy::review::Cluster;
use sallyport_policy::service::Service;

/// Returns true if every provider of the cluster makes an internal load balancer of this Service;
/// false where that is not known. `old` is the Service before the update.
pub(crate) fn is_internal(service: &Service, old: Option<&Service>, cluster: &Cluster) -> bool {
    let on = |infrastructure: Option<&str>| {
        let controller =
            infrastructure.and_then(|infrastructure| internal::on(infrastructure, service));
        controller.is_some_and(|controller| controller.reasons(service, old).is_empty())
    };
    let is_voided = BESIDE
        .iter()
        .any(|by| voiding(service, old, Voided::Internal, by).next().is_some());
    !is_voided
        && !cluster.providers.is_empty()
        && cluster
            .providers
            .iter()
            .all(|provider| on(nodes::provider(&provider.id)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sallyport_policy::testing::{create, labels, load_balancer};

    const AZURE: &str = "service.beta.kubernetes.io/azure-load-balancer-internal";

    fn internal_on<const N: usize, const M: usize>(
        schemes: [&str; M],
        annotations: [(&str, &str); N],
    ) -> bool {
        let mut service = load_balancer("w", 80);
        service.metadata.annotations = labels(annotations);
        let review = create(service).on_nodes_of(schemes);
        is_internal(&review.service, None, &review.cluster)
    }

    #[test]
    fn a_switch_counts_on_its_own_cloud_only() {
        assert!(internal_on(["azure"], [(AZURE, "true")]));
        for schemes in [&["aws"][..], &["k3s"], &[""]] {
            let [scheme] = schemes else { panic!("one") };
            assert!(!internal_on([scheme], [(AZURE, "true")]), "{scheme}");
        }
        assert!(!internal_on([], [(AZURE, "true")]));
    }

    #[test]
    fn what_voids_the_switch_counts() {
        assert!(!internal_on(
            ["azure"],
            [
                (AZURE, "true"),
                ("service.beta.kubernetes.io/azure-pls-create", "true")
            ]
        ));
        assert!(!internal_on(
            ["azure"],
            [(AZURE, "true"), ("kube-vip.io/forwardUPNP", "true")]
        ));
    }

    #[test]
    fn on_several_clouds_it_must_be_internal_on_each() {
        assert!(!internal_on(["azure", "openstack"], [(AZURE, "true")]));
        let both = [
            (AZURE, "true"),
            (
                "service.beta.kubernetes.io/openstack-internal-load-balancer",
                "true",
            ),
        ];
        assert!(internal_on(["azure", "openstack"], both));
    }
}
