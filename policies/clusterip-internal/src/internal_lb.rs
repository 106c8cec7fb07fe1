//! Is a load balancer an internal one, for certain?
//!
//! Each cloud's controller reads its own annotation with its own parser, and a value that looks internal to a person may be
//! public to the controller (`"True"` on Azure). So the rules are the controllers' own, a row counts only on its own cloud and
//! for a class that its controller serves, and a contradiction is not internal.

use sallyport_policy::review::Cluster;
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

/// One switch: the beginning of the Nodes' providerID, the annotation, its parser. All that are present must agree. Sources: the
/// controllers, as `docs` of each project name them; AWS
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

/// Google's newer key; the older one is not read beside it.
const GCE_TYPE: &str = "networking.gke.io/load-balancer-type";

/// Classes whose controllers read the annotations of their cloud. Whatever serves another class does not.
const CLASSES: [(&str, &str); 3] =
    [("aws", "service.k8s.aws/nlb"), ("aws", "eks.amazonaws.com/nlb"), ("alicloud", "alibabacloud.com/nlb")];

/// Google's classes for an internal load balancer, whatever the annotations say.
const GCE_INTERNAL: [&str; 2] =
    ["networking.gke.io/l4-regional-internal", "networking.gke.io/l4-regional-internal-legacy"];

/// Whether every provider of the cluster makes an internal load balancer of this Service. Not known is not internal.
pub(crate) fn is_internal(service: &Service, cluster: &Cluster) -> bool {
    let providers = &cluster.providers;
    let on = |cloud: Option<&str>| cloud.is_some_and(|cloud| is_internal_on(cloud, service));
    !providers.is_empty() && providers.iter().all(|provider| on(provider.id.provider()))
}

fn is_internal_on(cloud: &str, service: &Service) -> bool {
    match service.spec.load_balancer_class.as_deref() {
        Some(class) if cloud == "gce" => GCE_INTERNAL.contains(&class),
        Some(class) if !CLASSES.contains(&(cloud, class)) => false,
        _ => is_annotated(cloud, service),
    }
}

fn is_annotated(cloud: &str, service: &Service) -> bool {
    if cloud == "oci"
        && let Some(kind) = service.annotation(OCI_TYPE).filter(|kind| kind.eq_ignore_ascii_case("nlb"))
    {
        return kind == "nlb" && service.annotation(OCI_NLB).is_some_and(|value| Reads::ParseBool.as_internal(value));
    }
    let shadows = cloud == "gce" && service.annotation(GCE_TYPE).is_some();
    let mut found = false;
    for (_, key, reads) in SWITCHES.iter().filter(|(of, key, _)| *of == cloud && (!shadows || *key == GCE_TYPE)) {
        match service.annotation(key) {
            Some(value) if !reads.as_internal(value) => return false,
            Some(_) => found = true,
            None => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use sallyport_policy::testing::{create, labels, load_balancer};

    const AWS_SCHEME: &str = "service.beta.kubernetes.io/aws-load-balancer-scheme";
    const AWS_LEGACY: &str = "service.beta.kubernetes.io/aws-load-balancer-internal";

    fn internal<const N: usize, const M: usize>(schemes: [&str; M], annotations: [(&str, &str); N]) -> bool {
        of_class(None, schemes, annotations)
    }

    fn of_class<const N: usize, const M: usize>(
        class: Option<&str>,
        schemes: [&str; M],
        annotations: [(&str, &str); N],
    ) -> bool {
        let mut service = load_balancer("w", 80);
        service.spec.load_balancer_class = class.map(str::to_owned);
        service.metadata.annotations = labels(annotations);
        let review = create(service).on_nodes_of(schemes);
        is_internal(&review.service, &review.cluster)
    }

    #[test]
    fn each_controller_reads_with_its_own_parser() {
        let azure = "service.beta.kubernetes.io/azure-load-balancer-internal";
        assert!(internal(["azure"], [(azure, "true")]));
        assert!(!internal(["azure"], [(azure, "True")]));
        assert!(internal(["gce"], [("networking.gke.io/load-balancer-type", "Internal")]));
        assert!(!internal(["gce"], [("networking.gke.io/load-balancer-type", "INTERNAL")]));
    }

    #[test]
    fn the_newer_key_shadows_the_older_one() {
        let keys =
            [("networking.gke.io/load-balancer-type", "External"), ("cloud.google.com/load-balancer-type", "Internal")];
        assert!(!internal(["gce"], keys));
    }

    #[test]
    fn a_contradiction_is_not_internal() {
        assert!(internal(["aws"], [(AWS_SCHEME, "internal")]));
        assert!(internal(["aws"], [(AWS_LEGACY, "true"), (AWS_SCHEME, "internal")]));
        assert!(!internal(["aws"], [(AWS_LEGACY, "true"), (AWS_SCHEME, "internet-facing")]));
    }

    #[test]
    fn what_serves_another_class_does_not_read_the_clouds_annotation() {
        let scheme = [(AWS_SCHEME, "internal")];
        assert!(of_class(Some("service.k8s.aws/nlb"), ["aws"], scheme));
        assert!(!of_class(Some("tailscale"), ["aws"], scheme));
        assert!(of_class(Some("networking.gke.io/l4-regional-internal"), ["gce"], []));
        assert!(!of_class(Some("networking.gke.io/l4-regional-external"), ["gce"], [(GCE_TYPE, "Internal")]));
        assert!(!of_class(Some("networking.gke.io/l4-regional-internal"), ["aws"], []));
    }

    #[test]
    fn oracles_two_load_balancers_read_their_own_keys() {
        let lb = ("service.beta.kubernetes.io/oci-load-balancer-internal", "true");
        assert!(internal(["oci"], [lb]));
        assert!(!internal(["oci"], [lb, (OCI_TYPE, "nlb")]));
        assert!(!internal(["oci"], [lb, (OCI_TYPE, "NLB")]));
        assert!(internal(["oci"], [(OCI_NLB, "true"), (OCI_TYPE, "nlb")]));
    }

    #[test]
    fn another_clouds_switch_and_an_unknown_cloud_are_not_internal() {
        assert!(!internal(["aws"], [("service.beta.kubernetes.io/azure-load-balancer-internal", "true")]));
        assert!(!internal([], [(AWS_SCHEME, "internal")]));
        assert!(!internal(["aws", "azure"], [(AWS_SCHEME, "internal")]));
    }
}
