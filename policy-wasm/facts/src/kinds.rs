//! Annotations that decide what kind of load balancer a Service has: internal or public, and of
//! which product. A controller makes another load balancer, with another address, when it changes.

use super::internal::{CONTROLLERS, Controller};
use super::reach::{degree, without_class};
use super::voids::{Cause, VOIDS};
use sallyport_policy::service::{Service, ServiceType};

/// An annotation that chooses among a controller's products.
#[derive(Debug, Clone, Copy)]
pub struct Product {
    /// The controller that reads it.
    pub by: &'static str,
    /// The annotation.
    pub key: &'static str,
    /// The source.
    #[cfg(not(target_family = "wasm"))]
    pub source: &'static str,
}

#[cfg_attr(
    target_family = "wasm",
    expect(unused_variables, reason = "the source is for people")
)]
const fn row(by: &'static str, key: &'static str, source: &'static str) -> Product {
    Product {
        by,
        key,
        #[cfg(not(target_family = "wasm"))]
        source,
    }
}

/// Every annotation that is known to choose one.
pub static PRODUCTS: [Product; 9] = [
    row(
        "aws-lbc",
        "service.beta.kubernetes.io/aws-load-balancer-type",
        "kubernetes/cloud-provider-aws pkg/providers/v1/aws_loadbalancer.go: classic or network; \
         kubernetes-sigs/aws-load-balancer-controller takes over external and nlb-ip",
    ),
    row(
        "azure",
        "service.beta.kubernetes.io/azure-load-balancer-configurations",
        "kubernetes-sigs/cloud-provider-azure pkg/consts/consts.go: which of the cluster's load \
         balancers",
    ),
    row(
        "gce",
        "cloud.google.com/l4-rbs",
        "kubernetes/cloud-provider-gcp providers/gce/gce_annotations.go: based on backend services",
    ),
    row(
        "gce",
        "cloud.google.com/network-tier",
        "the same file: addresses belong to a tier",
    ),
    row(
        "oci",
        "oci.oraclecloud.com/load-balancer-type",
        "oracle/oci-cloud-controller-manager pkg/cloudprovider/providers/oci/load_balancer_spec.go",
    ),
    row(
        "digitalocean",
        "service.beta.kubernetes.io/do-loadbalancer-type",
        "digitalocean/digitalocean-cloud-controller-manager cloud-controller-manager/do: regional, \
         or a network load balancer",
    ),
    row(
        "linode",
        "service.beta.kubernetes.io/linode-loadbalancer-nodebalancer-type",
        "linode/linode-cloud-controller-manager cloud/annotations/annotations.go",
    ),
    row(
        "huawei",
        "kubernetes.io/elb.class",
        "kubernetes-sigs/cloud-provider-huaweicloud pkg/cloudprovider/huaweicloud/huaweicloud.go",
    ),
    row(
        "ibm",
        "service.kubernetes.io/ibm-load-balancer-cloud-provider-enable-features",
        "IBM-Cloud/cloud-provider-vpc-controller pkg/vpcctl/vpc_config.go: a network load balancer",
    ),
];

/// A change of an annotation by which a Service gets another kind of load balancer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change<'a> {
    /// The annotation.
    pub key: &'static str,
    /// The value before. None: the annotation was not there.
    pub old: Option<&'a str>,
    /// The value now.
    pub new: Option<&'a str>,
}

/// Returns the changes by which a LoadBalancer gets another kind: another product, another reach
/// for some controller, or an existing load balancer in place of its own or of another one. Where
/// controllers write their own's ID, to name one for the first time is none.
pub fn changes<'a>(old: &'a Service, new: &'a Service) -> Vec<Change<'a>> {
    let mut changes: Vec<Change<'a>> = vec![];
    let is_served = |service: &Service| service.service_type() == ServiceType::LoadBalancer;
    if !is_served(old) || !is_served(new) || old.metadata.annotations == new.metadata.annotations {
        return changes;
    }
    let mut add = |key: &'static str, may_be_filled: bool| {
        let change = Change {
            key,
            old: old.annotation(key),
            new: new.annotation(key),
        };
        let is_filled = may_be_filled && change.old.is_none_or(str::is_empty);
        let is_told = changes.iter().any(|other| other.key == key);
        if change.old != change.new && !is_filled && !is_told {
            changes.push(change);
        }
    };
    for row in &PRODUCTS {
        add(row.key, false);
    }
    for void in &VOIDS {
        if matches!(void.cause, Cause::Adopts | Cause::AdoptsOrOwns) {
            add(void.key, void.cause == Cause::AdoptsOrOwns);
        }
    }
    let (before, after) = (without_class(old), without_class(new));
    for controller in &CONTROLLERS {
        if degree(controller, &before) != degree(controller, &after) {
            for key in switches(controller) {
                add(key, false);
            }
        }
    }
    changes
}

fn switches(controller: &Controller) -> impl Iterator<Item = &'static str> {
    let variant = controller.variant.iter();
    let of_variant = variant.flat_map(|variant| variant.switches);
    controller
        .switches
        .iter()
        .chain(of_variant)
        .map(|switch| switch.key)
}

/// Returns the keys of every annotation that [`changes`] compares.
pub fn keys() -> Vec<&'static str> {
    let mut keys = vec![];
    for row in &PRODUCTS {
        keys.push(row.key);
    }
    for void in &VOIDS {
        keys.push(void.key);
    }
    for controller in &CONTROLLERS {
        keys.extend(switches(controller));
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use sallyport_policy::testing::{labels, load_balancer};

    const SCHEME: &str = "service.beta.kubernetes.io/aws-load-balancer-scheme";
    const INTERNAL: &str = "service.beta.kubernetes.io/aws-load-balancer-internal";
    const AZURE: &str = "service.beta.kubernetes.io/azure-load-balancer-internal";
    const TYPE: &str = "service.beta.kubernetes.io/aws-load-balancer-type";
    const OWNED: &str = "kubernetes.digitalocean.com/load-balancer-id";
    const ADOPTED: &str = "service.kubernetes.io/tke-existed-lbid";

    fn changed<const N: usize, const M: usize>(
        old: [(&str, &str); N],
        new: [(&str, &str); M],
    ) -> Vec<&'static str> {
        let with = |annotations| {
            let mut service = load_balancer("w", 80);
            service.metadata.annotations = annotations;
            service
        };
        let (old, new) = (with(labels(old)), with(labels(new)));
        changes(&old, &new)
            .into_iter()
            .map(|change| change.key)
            .collect()
    }

    #[test]
    fn what_a_controller_reads_alike_is_no_change() {
        assert!(changed([(INTERNAL, "true")], [(INTERNAL, "1"), ("a/b", "c")]).is_empty());
        assert!(changed([(AZURE, "false")], [(AZURE, "True")]).is_empty());
        assert_eq!(changed([(AZURE, "true")], [(AZURE, "True")]), [AZURE]);
        assert_eq!(changed([(AZURE, "true")], []), [AZURE]);
        assert_eq!(changed([], [(SCHEME, "internal")]), [SCHEME]);
    }

    #[test]
    fn another_product_and_another_adopted_one_are_changes() {
        assert_eq!(changed([], [(TYPE, "nlb")]), [TYPE]);
        assert_eq!(changed([(TYPE, "nlb")], [(TYPE, "external")]), [TYPE]);
        assert!(changed([], [(OWNED, "x")]).is_empty());
        assert_eq!(changed([(OWNED, "a")], [(OWNED, "b")]), [OWNED]);
        assert_eq!(changed([(OWNED, "a")], []), [OWNED]);
        assert_eq!(changed([], [(ADOPTED, "lb-1")]), [ADOPTED]);
    }
}
