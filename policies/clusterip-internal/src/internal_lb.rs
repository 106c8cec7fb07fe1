//! Is a load balancer an internal one, for certain?
//!
//! Each cloud's controller reads its own annotation with its own parser, and a value that looks internal to a person may be
//! public to the controller (`"True"` on Azure). So the rules are the controllers' own, a row counts only on its own cloud,
//! and a contradiction is not internal.

use sallyport_policy::review::{Cluster, ProviderId};
use sallyport_policy::service::Service;

/// How a controller reads a value.
#[derive(Clone, Copy)]
enum Reads {
    /// One of these, exactly.
    Exactly(&'static [&'static str]),
    /// Go's `strconv.ParseBool`, true.
    ParseBool,
    /// Any value but the empty one.
    Presence,
}

impl Reads {
    fn as_internal(self, value: &str) -> bool {
        match self {
            Self::Exactly(values) => values.contains(&value),
            Self::ParseBool => matches!(value, "1" | "t" | "T" | "TRUE" | "true" | "True"),
            Self::Presence => !value.is_empty(),
        }
    }
}

/// One switch: the beginning of the Nodes' providerID, the annotation, its parser. In the order in which a controller reads
/// them: the first that is present decides. Sources: the controllers, as `docs` of each project name them; AWS
/// `pkg/service/model_build_load_balancer.go`, Azure `azure_loadbalancer.go`, GCE `gce_annotations.go`, OpenStack
/// `loadbalancer.go`, OCI `load_balancer_spec.go`, DigitalOcean `loadbalancers.go`, Hetzner `internal/annotation`.
const SWITCHES: [(&str, &str, Reads); 15] = [
    ("aws", "service.beta.kubernetes.io/aws-load-balancer-scheme", Reads::Exactly(&["internal"])),
    ("aws", "service.beta.kubernetes.io/aws-load-balancer-internal", Reads::ParseBool),
    ("azure", "service.beta.kubernetes.io/azure-load-balancer-internal", Reads::Exactly(&["true"])),
    ("gce", "networking.gke.io/load-balancer-type", Reads::Exactly(&["Internal", "internal"])),
    ("gce", "cloud.google.com/load-balancer-type", Reads::Exactly(&["Internal", "internal"])),
    ("openstack", "service.beta.kubernetes.io/openstack-internal-load-balancer", Reads::Exactly(&["true"])),
    ("oci", "service.beta.kubernetes.io/oci-load-balancer-internal", Reads::ParseBool),
    ("digitalocean", "service.beta.kubernetes.io/do-loadbalancer-network", Reads::Exactly(&["INTERNAL"])),
    ("hcloud", "load-balancer.hetzner.cloud/disable-public-network", Reads::ParseBool),
    ("ibm", "service.kubernetes.io/ibm-load-balancer-cloud-provider-ip-type", Reads::Exactly(&["private"])),
    ("qcloud", "service.kubernetes.io/qcloud-loadbalancer-internal-subnetid", Reads::Presence),
    ("scaleway", "service.beta.kubernetes.io/scw-loadbalancer-private", Reads::Exactly(&["true"])),
    ("yandex", "yandex.cloud/load-balancer-type", Reads::Exactly(&["internal"])),
    ("alicloud", "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-address-type", Reads::Exactly(&["intranet"])),
    ("alicloud", "service.beta.kubernetes.io/alicloud-loadbalancer-address-type", Reads::Exactly(&["intranet"])),
];

/// OCI's network load balancer reads its own key, and not the other's.
const OCI_TYPE: &str = "oci.oraclecloud.com/load-balancer-type";
const OCI_NLB: &str = "oci-network-load-balancer.oraclecloud.com/internal";

/// AWS' two controllers read different keys, so both must say the same.
const AWS_SCHEME: &str = "service.beta.kubernetes.io/aws-load-balancer-scheme";
const AWS_LEGACY: &str = "service.beta.kubernetes.io/aws-load-balancer-internal";

/// Whether every provider of the cluster makes an internal load balancer of this Service. Not known is not internal.
pub(crate) fn is_internal(service: &Service, cluster: &Cluster) -> bool {
    let providers = &cluster.providers;
    !providers.is_empty() && providers.iter().all(|provider| is_internal_on(cloud(&provider.id), service))
}

fn cloud(id: &ProviderId) -> &str {
    match id {
        ProviderId::Bare(prefix) if prefix == "ocid1" => "oci",
        // Alibaba's IDs begin with the region.
        ProviderId::Bare(_) => "alicloud",
        ProviderId::Scheme(scheme) => scheme,
        ProviderId::Missing => "",
    }
}

fn is_internal_on(cloud: &str, service: &Service) -> bool {
    match service.spec.load_balancer_class.as_deref() {
        Some("networking.gke.io/l4-regional-internal" | "networking.gke.io/l4-regional-internal-legacy") if cloud == "gce" => {
            return true;
        }
        Some(class) if class.starts_with("networking.gke.io/") => return false,
        _ => {}
    }
    if cloud == "oci" && service.annotation(OCI_TYPE) == Some("nlb") {
        return service.annotation(OCI_NLB).is_some_and(|value| Reads::ParseBool.as_internal(value));
    }
    if cloud == "aws" && contradicts(service) {
        return false;
    }
    let mut present = SWITCHES
        .iter()
        .filter(|(of, ..)| *of == cloud)
        .filter_map(|(_, key, reads)| service.annotation(key).map(|value| reads.as_internal(value)));
    present.next().unwrap_or(false)
}

fn contradicts(service: &Service) -> bool {
    let scheme = service.annotation(AWS_SCHEME).map(|value| value == "internal");
    let legacy = service.annotation(AWS_LEGACY).map(|value| Reads::ParseBool.as_internal(value));
    matches!((scheme, legacy), (Some(scheme), Some(legacy)) if scheme != legacy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sallyport_policy::review::Provider;
    use sallyport_policy::testing::{create, labels, load_balancer};

    fn internal<const N: usize>(schemes: &[&str], annotations: [(&str, &str); N]) -> bool {
        let mut service = load_balancer("w", 80);
        service.metadata.annotations = labels(annotations);
        let mut cluster = create(service.clone()).cluster;
        let provider = |scheme: &&str| Provider { id: ProviderId::Scheme((*scheme).to_owned()), nodes: 1 };
        cluster.providers = schemes.iter().map(provider).collect();
        is_internal(&service, &cluster)
    }

    #[test]
    fn each_controller_reads_with_its_own_parser() {
        let azure = "service.beta.kubernetes.io/azure-load-balancer-internal";
        assert!(internal(&["azure"], [(azure, "true")]));
        assert!(!internal(&["azure"], [(azure, "True")]));
        assert!(internal(&["gce"], [("networking.gke.io/load-balancer-type", "Internal")]));
        assert!(!internal(&["gce"], [("networking.gke.io/load-balancer-type", "INTERNAL")]));
    }

    #[test]
    fn the_newer_key_shadows_the_older_one() {
        let keys = [("networking.gke.io/load-balancer-type", "External"), ("cloud.google.com/load-balancer-type", "Internal")];
        assert!(!internal(&["gce"], keys));
    }

    #[test]
    fn a_contradiction_is_not_internal() {
        assert!(internal(&["aws"], [(AWS_SCHEME, "internal")]));
        assert!(internal(&["aws"], [(AWS_LEGACY, "true"), (AWS_SCHEME, "internal")]));
        assert!(!internal(&["aws"], [(AWS_LEGACY, "true"), (AWS_SCHEME, "internet-facing")]));
    }

    #[test]
    fn another_clouds_switch_and_an_unknown_cloud_are_not_internal() {
        assert!(!internal(&["aws"], [("service.beta.kubernetes.io/azure-load-balancer-internal", "true")]));
        assert!(!internal(&[], [(AWS_SCHEME, "internal")]));
        assert!(!internal(&["aws", "azure"], [(AWS_SCHEME, "internal")]));
    }
}
