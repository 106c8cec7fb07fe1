//! Infrastructures by the beginning of a Node's `spec.providerID`, and whether their clouds serve
//! LoadBalancer Services.
//!
//! Two clouds write IDs without a scheme. They are recognised exactly, since a policy permits
//! something where it knows the cloud: an ID that only looks alike means nothing.

use sallyport_policy::review::ProviderId;

/// The support of an infrastructure for Services of type LoadBalancer without a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serves {
    /// The cloud's controller serves them.
    Cloud,
    /// Machines without a load balancer of their own.
    Nothing,
}

/// The beginning of a providerID.
#[derive(Debug, Clone, Copy)]
pub struct Infrastructure {
    /// The text before `://`; or, for IDs without a scheme, the name that we give it.
    pub name: &'static str,
    /// Its support for load balancers.
    pub serves: Serves,
    /// The form of its IDs, and the source.
    #[cfg(not(target_family = "wasm"))]
    pub source: &'static str,
}

#[cfg_attr(
    target_family = "wasm",
    expect(unused_variables, reason = "the source is for people")
)]
const fn row(name: &'static str, serves: Serves, source: &'static str) -> Infrastructure {
    Infrastructure {
        name,
        serves,
        #[cfg(not(target_family = "wasm"))]
        source,
    }
}

/// Every prefix of a providerID that identifies a cloud or another infrastructure. All others,
/// including `k3s` and `rke2` (written by embedded controllers even on a cloud's machines), count
/// as unknown.
pub static INFRASTRUCTURE: [Infrastructure; 29] = [
    row(
        "aws",
        Serves::Cloud,
        "`aws:///zone/i-…`; kubernetes/cloud-provider-aws pkg/providers/v1/instances.go",
    ),
    row(
        "gce",
        Serves::Cloud,
        "`gce://project/zone/name`; kubernetes-sigs/kind issue 1711",
    ),
    row(
        "azure",
        Serves::Cloud,
        "`azure:///subscriptions/…`; from memory",
    ),
    row(
        "openstack",
        Serves::Cloud,
        "`openstack:///uuid`, if Octavia is there; kubernetes/cloud-provider-openstack \
         ProviderName",
    ),
    row(
        "digitalocean",
        Serves::Cloud,
        "`digitalocean://id`; digitalocean/digitalocean-cloud-controller-manager droplets.go",
    ),
    row(
        "hcloud",
        Serves::Cloud,
        "`hcloud://id`; hetznercloud/hcloud-cloud-controller-manager internal/providerid",
    ),
    row(
        "oci",
        Serves::Cloud,
        "`oci://ocid1.…`, or `ocid1.…` without a scheme; oracle/oci-cloud-controller-manager \
         util.go",
    ),
    row(
        "ocid1",
        Serves::Cloud,
        "Oracle's IDs without a scheme, up to the first dot; as above",
    ),
    row(
        "alicloud",
        Serves::Cloud,
        "`region.i-…` without a scheme; from memory",
    ),
    row(
        "scaleway",
        Serves::Cloud,
        "`scaleway://instance/zone/id`; scaleway/scaleway-cloud-controller-manager issue 135",
    ),
    row("linode", Serves::Cloud, "`linode://id`; from memory"),
    row("ibm", Serves::Cloud, "`ibm://…`; from memory"),
    row("vultr", Serves::Cloud, "`vultr://id`; from memory"),
    row("qcloud", Serves::Cloud, "`qcloud:///zone/id`; from memory"),
    row("exoscale", Serves::Cloud, "`exoscale://id`; from memory"),
    row("upcloud", Serves::Cloud, "`upcloud:////id`; from memory"),
    row("yandex", Serves::Cloud, "`yandex://id`; from memory"),
    row(
        "stackit",
        Serves::Cloud,
        "`stackit://id`; stackitcloud/cloud-provider-stackit pkg/ccm/instances.go (older Nodes: \
         `openstack://`)",
    ),
    row(
        "civo",
        Serves::Cloud,
        "`civo://id`; civo/civo-cloud-controller-manager cloud-controller-manager/civo",
    ),
    row("vsphere", Serves::Nothing, "`vsphere://uuid`; from memory"),
    row(
        "proxmox",
        Serves::Nothing,
        "`proxmox://cluster/vm`; sergelogvinov/proxmox-cloud-controller-manager issues",
    ),
    row("nutanix", Serves::Nothing, "`nutanix://uuid`; from memory"),
    row("metal3", Serves::Nothing, "`metal3://…`; from memory"),
    row(
        "tinkerbell",
        Serves::Nothing,
        "`tinkerbell://…`; tinkerbell/cluster-api-provider-tinkerbell issues",
    ),
    row(
        "equinixmetal",
        Serves::Nothing,
        "`equinixmetal://id`; from memory",
    ),
    row(
        "kubevirt",
        Serves::Nothing,
        "`kubevirt://name`; from memory",
    ),
    row(
        "harvester",
        Serves::Nothing,
        "`harvester://uuid`; from memory",
    ),
    row(
        "hrobot",
        Serves::Nothing,
        "`hrobot://id`, `hcloud://bm-…`: Hetzner's dedicated servers; as hcloud",
    ),
    row(
        "kind",
        Serves::Nothing,
        "`kind://docker/cluster/node`: only with cloud-provider-kind beside it; from memory",
    ),
];

/// Alibaba Cloud's IDs begin with the region, `cn-hangzhou.i-…`. Source: its list of regions and
/// zones, from memory; a region that is missing here makes a Node of an unknown provider, which
/// policies say by name.
pub const ALIBABA_REGIONS: [&str; 35] = [
    "cn-hangzhou",
    "cn-shanghai",
    "cn-beijing",
    "cn-shenzhen",
    "cn-hongkong",
    "ap-southeast-1",
    "eu-central-1",
    "us-east-1",
    "us-west-1",
    "ap-northeast-1",
    "ap-southeast-5",
    "cn-zhangjiakou",
    "cn-chengdu",
    "cn-qingdao",
    "cn-huhehaote",
    "cn-wulanchabu",
    "cn-guangzhou",
    "cn-heyuan",
    "cn-nanjing",
    "cn-fuzhou",
    "cn-wuhan-lr",
    "cn-zhengzhou-jva",
    "ap-northeast-2",
    "ap-southeast-3",
    "ap-southeast-6",
    "ap-southeast-7",
    "eu-west-1",
    "me-east-1",
    "me-central-1",
    "na-south-1",
    "cn-beijing-finance-1",
    "cn-shanghai-finance-1",
    "cn-shenzhen-finance-1",
    "cn-hangzhou-finance",
    "cn-north-2-gov-1",
];

/// Returns the provider by the name that others have as their scheme: `oci` for a bare `ocid1`,
/// `alicloud` for a region of Alibaba Cloud, and [`ProviderId::text`] for everything else.
///
/// ```
/// use sallyport_facts::nodes::provider;
/// use sallyport_policy::review::ProviderId;
///
/// assert_eq!(provider(&ProviderId::Scheme("aws".into())), Some("aws"));
/// assert_eq!(provider(&ProviderId::Bare("ocid1".into())), Some("oci"));
/// assert_eq!(provider(&ProviderId::Bare("cn-hangzhou".into())), Some("alicloud"));
/// assert_eq!(provider(&ProviderId::Missing), None);
/// ```
pub fn provider(id: &ProviderId) -> Option<&str> {
    match id {
        ProviderId::Bare(text) if text == "ocid1" => Some("oci"),
        ProviderId::Bare(text) if ALIBABA_REGIONS.contains(&text.as_str()) => Some("alicloud"),
        _ => id.text(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_stands_once() {
        for (i, row) in INFRASTRUCTURE.iter().enumerate() {
            assert!(
                INFRASTRUCTURE
                    .iter()
                    .take(i)
                    .all(|other| other.name != row.name),
                "{}",
                row.name
            );
        }
    }
}
