//! Annotations by which a Service chooses where its load balancer's address comes from: a pool, a
//! reserved address, or a network, each by its name or ID.
//!
//! The name says nothing about the address. Load balancers that a Service takes over by ID are
//! missing: controllers write these annotations, too ([`super::voids`]).

use super::addresses::parts;
use sallyport_policy::service::{Service, ServiceType};

/// The object that an annotation names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A pool of addresses.
    Pool,
    /// A reserved address: an allocation, a public IP, a floating IP.
    Reserved,
    /// A network or subnet.
    Network,
}

impl Origin {
    /// Returns the word for it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Pool => "pool",
            Self::Reserved => "reserved address",
            Self::Network => "network",
        }
    }
}

/// An annotation that names one.
#[derive(Debug, Clone, Copy)]
pub struct Chooses {
    /// The controller that reads it.
    pub by: &'static str,
    /// The annotation.
    pub key: &'static str,
    /// The object that it names.
    pub origin: Origin,
    /// True if the value is a list: with commas, or in JSON.
    pub is_list: bool,
    /// The source.
    #[cfg(not(target_family = "wasm"))]
    pub source: &'static str,
}

#[cfg_attr(
    target_family = "wasm",
    expect(unused_variables, reason = "the source is for people")
)]
const fn one(by: &'static str, key: &'static str, origin: Origin, source: &'static str) -> Chooses {
    Chooses {
        by,
        key,
        origin,
        is_list: false,
        #[cfg(not(target_family = "wasm"))]
        source,
    }
}

const fn list(
    by: &'static str,
    key: &'static str,
    origin: Origin,
    source: &'static str,
) -> Chooses {
    Chooses {
        is_list: true,
        ..one(by, key, origin, source)
    }
}

const METALLB: &str = "metallb/metallb controller/service.go";
const LOXILB: &str = "loxilb-io/kube-loxilb pkg/agent/manager/loadbalancer/loadbalancer.go";
const CALICO: &str = "projectcalico/calico kube-controllers/pkg/controllers/loadbalancer: a JSON \
    list of names or blocks";
const HARVESTER: &str = "harvester/harvester-cloud-provider \
    pkg/cloud-controller-manager/loadbalancer.go: chooses among Harvester's IP pools";
const AWS: &str = "kubernetes-sigs/aws-load-balancer-controller \
    pkg/service/model_build_load_balancer.go; kubernetes/cloud-provider-aws reads it, too";
const AZURE: &str = "kubernetes-sigs/cloud-provider-azure pkg/provider/azure_utils.go";
const GCE: &str = "kubernetes/ingress-gce pkg/l4/annotations";
const OPENSTACK: &str = "kubernetes/cloud-provider-openstack pkg/openstack/loadbalancer.go";
const SCALEWAY: &str = "scaleway/scaleway-cloud-controller-manager \
    scaleway/loadbalancers_annotations.go";
const LINODE: &str = "linode/linode-cloud-controller-manager cloud/linode/loadbalancers.go";
const OCI: &str = "oracle/oci-cloud-controller-manager \
    pkg/cloudprovider/providers/oci/load_balancer_spec.go";
const ALIBABA: &str = "kubernetes/cloud-provider-alibaba-cloud \
    pkg/controller/service/reconcile/annotation/annotations.go";
const HUAWEI: &str = "kubernetes-sigs/cloud-provider-huaweicloud \
    pkg/cloudprovider/huaweicloud/huaweicloud.go";
const TENCENT: &str = "TencentCloud/tencentcloud-cloud-controller-manager \
    tencentcloud/loadbalancer.go";

use Origin::{Network, Pool, Reserved};

/// Every annotation that is known to name one.
pub static CHOOSES: [Chooses; 55] = [
    one("metallb", "metallb.io/address-pool", Pool, METALLB),
    one("metallb", "metallb.universe.tf/address-pool", Pool, METALLB),
    one(
        "purelb",
        "purelb.io/service-group",
        Pool,
        "purelb/purelb internal/allocator/poolselect.go",
    ),
    one(
        "openelb",
        "eip.openelb.kubesphere.io/v1alpha2",
        Pool,
        "openelb/openelb pkg/controllers/ipam/ipam.go",
    ),
    list("calico", "projectcalico.org/ipv4pools", Pool, CALICO),
    list("calico", "projectcalico.org/ipv6pools", Pool, CALICO),
    one("kube-loxilb", "loxilb.io/poolSelect", Pool, LOXILB),
    list("kube-loxilb", "loxilb.io/poolSelectSecondary", Pool, LOXILB),
    one(
        "f5-cis",
        "cis.f5.com/ipamLabel",
        Pool,
        "F5Networks/k8s-bigip-ctlr docs: the label of a range of its IPAM",
    ),
    one(
        "antrea",
        "service.antrea.io/external-ip-pool",
        Pool,
        "antrea-io/antrea pkg/agent/types/annotations.go",
    ),
    one(
        "harvester",
        "cloudprovider.harvesterhci.io/network",
        Pool,
        HARVESTER,
    ),
    one(
        "harvester",
        "cloudprovider.harvesterhci.io/project",
        Pool,
        HARVESTER,
    ),
    one(
        "harvester",
        "cloudprovider.harvesterhci.io/namespace",
        Pool,
        HARVESTER,
    ),
    list(
        "aws-lbc",
        "service.beta.kubernetes.io/aws-load-balancer-eip-allocations",
        Reserved,
        AWS,
    ),
    list(
        "aws-lbc",
        "service.beta.kubernetes.io/aws-load-balancer-subnets",
        Network,
        AWS,
    ),
    one(
        "azure",
        "service.beta.kubernetes.io/azure-pip-name",
        Reserved,
        AZURE,
    ),
    one(
        "azure",
        "service.beta.kubernetes.io/azure-pip-name-ipv6",
        Reserved,
        AZURE,
    ),
    one(
        "azure",
        "service.beta.kubernetes.io/azure-pip-prefix-id",
        Pool,
        AZURE,
    ),
    one(
        "azure",
        "service.beta.kubernetes.io/azure-pip-prefix-id-ipv6",
        Pool,
        AZURE,
    ),
    one(
        "azure",
        "service.beta.kubernetes.io/azure-load-balancer-internal-subnet",
        Network,
        AZURE,
    ),
    list(
        "gce",
        "networking.gke.io/load-balancer-ip-addresses",
        Reserved,
        GCE,
    ),
    one("gce", "networking.gke.io/ip-collection-v6", Pool, GCE),
    one(
        "gce",
        "networking.gke.io/load-balancer-subnet",
        Network,
        GCE,
    ),
    one(
        "gce",
        "networking.gke.io/internal-load-balancer-subnet",
        Network,
        "kubernetes/cloud-provider-gcp providers/gce/gce_annotations.go",
    ),
    one(
        "openstack",
        "loadbalancer.openstack.org/port-id",
        Reserved,
        OPENSTACK,
    ),
    one(
        "openstack",
        "loadbalancer.openstack.org/class",
        Pool,
        OPENSTACK,
    ),
    one(
        "openstack",
        "loadbalancer.openstack.org/floating-network-id",
        Network,
        OPENSTACK,
    ),
    one(
        "openstack",
        "loadbalancer.openstack.org/floating-subnet",
        Network,
        OPENSTACK,
    ),
    one(
        "openstack",
        "loadbalancer.openstack.org/floating-subnet-id",
        Network,
        OPENSTACK,
    ),
    one(
        "openstack",
        "loadbalancer.openstack.org/floating-subnet-tags",
        Network,
        OPENSTACK,
    ),
    one(
        "openstack",
        "loadbalancer.openstack.org/network-id",
        Network,
        OPENSTACK,
    ),
    one(
        "openstack",
        "loadbalancer.openstack.org/subnet-id",
        Network,
        OPENSTACK,
    ),
    one(
        "hcloud",
        "load-balancer.hetzner.cloud/private-subnet-ip-range",
        Network,
        "hetznercloud/hcloud-cloud-controller-manager internal/annotation/load_balancer.go: a \
         block",
    ),
    list(
        "scaleway",
        "service.beta.kubernetes.io/scw-loadbalancer-ip-ids",
        Reserved,
        SCALEWAY,
    ),
    list(
        "scaleway",
        "service.beta.kubernetes.io/scw-loadbalancer-private-ip-ids",
        Reserved,
        SCALEWAY,
    ),
    one(
        "linode",
        "service.beta.kubernetes.io/linode-loadbalancer-frontend-ipv4-range",
        Network,
        LINODE,
    ),
    one(
        "linode",
        "service.beta.kubernetes.io/linode-loadbalancer-frontend-ipv6-range",
        Network,
        LINODE,
    ),
    one(
        "linode",
        "service.beta.kubernetes.io/linode-loadbalancer-frontend-subnet-id",
        Network,
        LINODE,
    ),
    one(
        "linode",
        "service.beta.kubernetes.io/linode-loadbalancer-frontend-subnet-name",
        Network,
        LINODE,
    ),
    one(
        "linode",
        "service.beta.kubernetes.io/linode-loadbalancer-frontend-vpc-name",
        Network,
        LINODE,
    ),
    one(
        "civo",
        "kubernetes.civo.com/ipv4-address",
        Reserved,
        "civo/civo-cloud-controller-manager cloud-controller-manager/civo/loadbalancer.go",
    ),
    one(
        "oci",
        "service.beta.kubernetes.io/oci-load-balancer-subnet1",
        Network,
        OCI,
    ),
    one(
        "oci",
        "service.beta.kubernetes.io/oci-load-balancer-subnet2",
        Network,
        OCI,
    ),
    one(
        "oci",
        "oci-network-load-balancer.oraclecloud.com/subnet",
        Network,
        OCI,
    ),
    one(
        "alibaba",
        "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-vswitch-id",
        Network,
        ALIBABA,
    ),
    one(
        "alibaba",
        "service.beta.kubernetes.io/alicloud-loadbalancer-vswitch-id",
        Network,
        ALIBABA,
    ),
    list(
        "alibaba",
        "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-zone-maps",
        Network,
        ALIBABA,
    ),
    list(
        "alibaba",
        "service.beta.kubernetes.io/alicloud-loadbalancer-zone-maps",
        Network,
        ALIBABA,
    ),
    one("huawei", "kubernetes.io/elb.eip-id", Reserved, HUAWEI),
    one("huawei", "kubernetes.io/elb.subnet-id", Network, HUAWEI),
    list(
        "ibm",
        "service.kubernetes.io/ibm-load-balancer-cloud-provider-vpc-subnets",
        Network,
        "IBM-Cloud/cloud-provider-vpc-controller pkg/vpcctl/vpc_config.go",
    ),
    one(
        "tencent",
        "service.beta.kubernetes.io/tencentcloud-loadbalancer-type-internal-subnet-id",
        Network,
        TENCENT,
    ),
    one(
        "tencent",
        "service.kubernetes.io/qcloud-loadbalancer-internal-subnetid",
        Network,
        "kubernetes/website, concepts/services-networking/service",
    ),
    one(
        "stackit",
        "lb.stackit.cloud/listener-network",
        Network,
        "stackitcloud/cloud-provider-stackit pkg/ccm/loadbalancer_spec.go",
    ),
    one(
        "stackit",
        "yawol.stackit.cloud/floatingNetworkID",
        Network,
        "stackitcloud/cloud-provider-stackit pkg/ccm/loadbalancer_yawol.go",
    ),
];

/// A pool, address or network that a Service asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chosen<'a> {
    /// The annotation, as the Service spells it.
    pub key: &'a str,
    /// The name or ID, without the blanks around it.
    pub text: &'a str,
    /// The object.
    pub origin: Origin,
}

/// The most names that [`chosen`] returns. A caller that gets them refuses the Service.
pub const MAX_CHOSEN: usize = 256;

/// Returns what a LoadBalancer asks for by name, in the order of the table, up to [`MAX_CHOSEN`].
/// Other types ask for nothing. Keys match without regard to case, because the match restricts.
pub fn chosen(service: &Service) -> Vec<Chosen<'_>> {
    let mut found = vec![];
    if service.service_type() != ServiceType::LoadBalancer {
        return found;
    }
    for row in &CHOOSES {
        for (key, value) in &service.metadata.annotations {
            if !key.eq_ignore_ascii_case(row.key) {
                continue;
            }
            let mut add = |text| {
                if found.len() < MAX_CHOSEN {
                    let origin = row.origin;
                    found.push(Chosen { key, text, origin });
                }
            };
            if row.is_list {
                parts(value).for_each(add);
            } else if !value.trim_ascii().is_empty() {
                add(value.trim_ascii());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use sallyport_policy::testing::{labels, load_balancer};

    #[test]
    fn lists_are_taken_apart_and_names_are_not() {
        let mut service = load_balancer("w", 80);
        service.metadata.annotations = labels([
            (
                "loadbalancer.openstack.org/floating-subnet",
                " public, first ",
            ),
            (
                "networking.gke.io/load-balancer-ip-addresses",
                "v4-address, v6-address",
            ),
            ("projectcalico.org/ipv4pools", r#"["one","10.0.0.0/8"]"#),
            ("metallb.io/address-pool", " "),
        ]);
        let texts: Vec<_> = chosen(&service).iter().map(|chosen| chosen.text).collect();
        assert_eq!(
            texts,
            [
                "one",
                "10.0.0.0/8",
                "v4-address",
                "v6-address",
                "public, first"
            ]
        );
    }
}
