//! Is a load balancer an internal one, for certain?
//!
//! Each controller reads its own annotation with its own parser, and a value that looks internal to a person may be public to
//! the controller (`"True"` on Azure). So the rules are the controllers' own: keys in their exact case, a row only for its own
//! controller and the classes that this serves; and where two keys contradict each other, the load balancer is not internal.

use super::classes::{Class, Reach, class};
use crate::service::Service;

/// How a controller reads a value.
#[derive(Debug, Clone, Copy)]
pub enum Reads {
    /// One of these, exactly.
    Exactly(&'static [&'static str]),
    /// Go's `strconv.ParseBool`, true.
    ParseBool,
    /// Any value but the empty one and exactly `false`.
    NotFalse,
    /// Any value but the empty one.
    Presence,
    /// A JSON object in which `"type"` is `"inner"`. Without a parser, only the plain spelling is believed.
    Inner,
}

impl Reads {
    /// Whether the value makes an internal load balancer.
    pub fn as_internal(self, value: &str) -> bool {
        let has = |part: &[u8]| value.as_bytes().windows(part.len()).any(|window| window == part);
        match self {
            Self::Exactly(values) => values.contains(&value),
            Self::ParseBool => matches!(value, "1" | "t" | "T" | "TRUE" | "true" | "True"),
            Self::NotFalse => !value.is_empty() && value != "false",
            Self::Presence => !value.is_empty(),
            Self::Inner => has(br#""type":"inner""#) && !has(br#""public""#) && !has(br"\"),
        }
    }
}

/// One annotation that makes a load balancer internal.
#[derive(Debug, Clone, Copy)]
pub struct Switch {
    /// The annotation.
    pub key: &'static str,
    /// How its value is read.
    pub reads: Reads,
    /// The value to write. None: it can't be chosen without knowing the network.
    pub set: Option<&'static str>,
    /// Where that is known from, and what else to know.
    #[cfg(not(target_family = "wasm"))]
    pub source: &'static str,
}

/// Which of several switches counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precedence {
    /// All that are present must agree.
    All,
    /// The first that is present, in the order of the table: the others are not read beside it.
    First,
}

/// A controller that makes load balancers of Services.
#[derive(Debug, Clone, Copy)]
pub struct Controller {
    /// What settings call it.
    pub name: &'static str,
    /// The beginning of the providerID of the Nodes where it runs; empty where that tells nothing.
    pub infrastructure: &'static str,
    /// The classes that it serves.
    pub classes: &'static [Class],
    /// The annotations that it reads.
    pub switches: &'static [Switch],
    /// Which of them counts.
    pub precedence: Precedence,
    /// Another kind of load balancer: by this annotation with this value, these are read instead.
    pub variant: Option<(&'static str, &'static str, &'static [Switch])>,
    /// By this annotation it takes an existing load balancer, which decides itself what it is.
    pub adopts: Option<&'static str>,
    /// Its name in full.
    #[cfg(not(target_family = "wasm"))]
    pub title: &'static str,
}

#[cfg_attr(target_family = "wasm", expect(unused_variables, reason = "the source is for people"))]
const fn switch(key: &'static str, reads: Reads, set: Option<&'static str>, source: &'static str) -> Switch {
    Switch {
        key,
        reads,
        set,
        #[cfg(not(target_family = "wasm"))]
        source,
    }
}

#[cfg_attr(target_family = "wasm", expect(unused_variables, reason = "the title is for people"))]
const fn controller(
    name: &'static str,
    title: &'static str,
    infrastructure: &'static str,
    switches: &'static [Switch],
) -> Controller {
    Controller {
        name,
        infrastructure,
        classes: &[],
        switches,
        precedence: Precedence::All,
        variant: None,
        adopts: None,
        #[cfg(not(target_family = "wasm"))]
        title,
    }
}

/// Every controller whose switch is known. AWS has two: who serves a Service there depends on the Service ([`on`]).
pub static CONTROLLERS: [Controller; 16] = [
    Controller {
        classes: &[
            class(
                "service.k8s.aws/nlb",
                Reach::Depends,
                "AWS Load Balancer Controller, whose webhook sets it on new LoadBalancers without a class",
            ),
            class("eks.amazonaws.com/nlb", Reach::Depends, "EKS Auto Mode"),
        ],
        ..controller(
            "aws-lbc",
            "AWS Load Balancer Controller, EKS Auto Mode",
            "aws",
            &[
                switch(
                    "service.beta.kubernetes.io/aws-load-balancer-scheme",
                    Reads::Exactly(&["internal"]),
                    Some("internal"),
                    "kubernetes-sigs/aws-load-balancer-controller pkg/service/model_build_load_balancer.go; without it the \
                        load balancer's own scheme or --default-load-balancer-scheme holds, which no Service shows",
                ),
                switch(
                    "service.beta.kubernetes.io/aws-load-balancer-internal",
                    Reads::ParseBool,
                    None,
                    "the same file: legacy, and not read beside the scheme",
                ),
            ],
        )
    },
    controller(
        "aws-ccm",
        "AWS cloud provider, in-tree or cloud-provider-aws",
        "aws",
        &[switch(
            "service.beta.kubernetes.io/aws-load-balancer-internal",
            Reads::NotFalse,
            Some("true"),
            "kubernetes/cloud-provider-aws pkg/providers/v1/aws.go; the scheme is not read, and the default is public",
        )],
    ),
    controller(
        "azure",
        "Azure (AKS)",
        "azure",
        &[switch(
            "service.beta.kubernetes.io/azure-load-balancer-internal",
            Reads::Exactly(&["true"]),
            Some("true"),
            "kubernetes-sigs/cloud-provider-azure pkg/provider/azure_loadbalancer.go; \"True\" is public",
        )],
    ),
    Controller {
        precedence: Precedence::First,
        classes: &[
            class(
                "networking.gke.io/l4-regional-internal",
                Reach::Internal,
                "GKE 1.33 and later; kubernetes/ingress-gce",
            ),
            class(
                "networking.gke.io/l4-regional-internal-legacy",
                Reach::Internal,
                "GKE 1.33 and later; kubernetes/ingress-gce",
            ),
            class(
                "networking.gke.io/l4-regional-external",
                Reach::External,
                "GKE 1.33 and later; kubernetes/ingress-gce",
            ),
            class(
                "networking.gke.io/l4-regional-external-legacy",
                Reach::External,
                "GKE 1.33 and later; kubernetes/ingress-gce",
            ),
        ],
        ..controller(
            "gce",
            "Google (GKE)",
            "gce",
            &[
                switch(
                    "networking.gke.io/load-balancer-type",
                    Reads::Exactly(&["Internal", "internal"]),
                    Some("Internal"),
                    "kubernetes/legacy-cloud-providers gce/gce_annotations.go; a class wins over it",
                ),
                switch(
                    "cloud.google.com/load-balancer-type",
                    Reads::Exactly(&["Internal", "internal"]),
                    None,
                    "the same file: not read beside the newer key",
                ),
            ],
        )
    },
    controller(
        "openstack",
        "OpenStack (Octavia)",
        "openstack",
        &[switch(
            "service.beta.kubernetes.io/openstack-internal-load-balancer",
            Reads::Exactly(&["true"]),
            Some("true"),
            "kubernetes/cloud-provider-openstack pkg/openstack/loadbalancer.go",
        )],
    ),
    Controller {
        variant: Some((
            "oci.oraclecloud.com/load-balancer-type",
            "nlb",
            &[switch(
                "oci-network-load-balancer.oraclecloud.com/internal",
                Reads::ParseBool,
                Some("true"),
                "the same file: a network load balancer reads its own key and not the other's",
            )],
        )),
        ..controller(
            "oci",
            "Oracle Cloud",
            "oci",
            &[switch(
                "service.beta.kubernetes.io/oci-load-balancer-internal",
                Reads::ParseBool,
                Some("true"),
                "oracle/oci-cloud-controller-manager pkg/cloudprovider/providers/oci/load_balancer_spec.go",
            )],
        )
    },
    controller(
        "digitalocean",
        "DigitalOcean",
        "digitalocean",
        &[switch(
            "service.beta.kubernetes.io/do-loadbalancer-network",
            Reads::Exactly(&["INTERNAL"]),
            Some("INTERNAL"),
            "digitalocean/digitalocean-cloud-controller-manager cloud-controller-manager/do/loadbalancers.go",
        )],
    ),
    controller(
        "hcloud",
        "Hetzner Cloud",
        "hcloud",
        &[switch(
            "load-balancer.hetzner.cloud/disable-public-network",
            Reads::ParseBool,
            Some("true"),
            "hetznercloud/hcloud-cloud-controller-manager internal/annotation; use-private-ip is about targets only",
        )],
    ),
    controller(
        "ibm",
        "IBM Cloud",
        "ibm",
        &[switch(
            "service.kubernetes.io/ibm-load-balancer-cloud-provider-ip-type",
            Reads::Exactly(&["private"]),
            Some("private"),
            "kubernetes/website content/en/docs/concepts/services-networking/service.md",
        )],
    ),
    Controller {
        classes: &[class("alibabacloud.com/nlb", Reach::Depends, "Alibaba's cloud controller manager")],
        ..controller(
            "alibaba",
            "Alibaba Cloud",
            "alicloud",
            &[
                switch(
                    "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-address-type",
                    Reads::Exactly(&["intranet"]),
                    Some("intranet"),
                    "alibabacloud.com documentation; case-sensitive",
                ),
                switch(
                    "service.beta.kubernetes.io/alicloud-loadbalancer-address-type",
                    Reads::Exactly(&["intranet"]),
                    None,
                    "the older spelling, read too",
                ),
            ],
        )
    },
    controller(
        "tencent",
        "Tencent Cloud",
        "qcloud",
        &[switch(
            "service.kubernetes.io/qcloud-loadbalancer-internal-subnetid",
            Reads::Presence,
            None,
            "kubernetes/website service.md; the value is a subnet",
        )],
    ),
    controller(
        "baidu",
        "Baidu Cloud",
        "",
        &[switch(
            "service.beta.kubernetes.io/cce-load-balancer-internal-vpc",
            Reads::Exactly(&["true"]),
            Some("true"),
            "kubernetes/website service.md",
        )],
    ),
    Controller {
        adopts: Some("kubernetes.io/elb.id"),
        ..controller(
            "huawei",
            "Huawei Cloud (CCE)",
            "",
            &[switch(
                "kubernetes.io/elb.autocreate",
                Reads::Inner,
                None,
                "support.huaweicloud.com; kubernetes.io/elb.id takes an existing load balancer, of which no Service tells",
            )],
        )
    },
    controller(
        "scaleway",
        "Scaleway",
        "scaleway",
        &[switch(
            "service.beta.kubernetes.io/scw-loadbalancer-private",
            Reads::Exactly(&["true"]),
            Some("true"),
            "scaleway/scaleway-cloud-controller-manager docs/loadbalancer-annotations.md",
        )],
    ),
    controller(
        "yandex",
        "Yandex Cloud",
        "yandex",
        &[switch(
            "yandex.cloud/load-balancer-type",
            Reads::Exactly(&["internal"]),
            Some("internal"),
            "yandex.cloud documentation",
        )],
    ),
    controller(
        "ctyun",
        "China Telecom Cloud",
        "",
        &[switch(
            "service.beta.kubernetes.io/ctyun-loadbalancer-address-type",
            Reads::Exactly(&["intranet"]),
            Some("intranet"),
            "esurfingcloud.com documentation; the default is intranet, too, which is not relied on",
        )],
    ),
];

/// By these values of its annotation, the AWS Load Balancer Controller takes a Service without a class from the cloud provider
/// (aws-load-balancer-controller `pkg/service/service_utils.go`).
const AWS_TYPE: &str = "service.beta.kubernetes.io/aws-load-balancer-type";
const AWS_LBC_TYPES: [&str; 2] = ["external", "nlb-ip"];

/// Why a load balancer is not certainly an internal one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Public<'a> {
    /// The controller serves no Service of this class, so that nobody reads its annotations.
    Class(&'a str),
    /// The class is an external one.
    ExternalClass(&'a str),
    /// An annotation has another value than those that make it internal.
    Value {
        /// The annotation.
        key: &'static str,
        /// What was found.
        found: &'a str,
        /// What to write instead.
        set: Option<&'static str>,
    },
    /// An annotation that makes another kind of load balancer, or takes an existing one, leaves it open.
    Unclear(&'static str),
    /// The controller's annotation is missing.
    Missing {
        /// The annotation.
        key: &'static str,
        /// What to write.
        set: Option<&'static str>,
    },
}

/// A controller by its name.
pub fn by_name(name: &str) -> Option<&'static Controller> {
    CONTROLLERS.iter().find(|controller| controller.name == name)
}

/// Who serves a Service on the Nodes of an infrastructure ([`crate::review::ProviderId::provider`]).
pub fn on(infrastructure: &str, service: &Service) -> Option<&'static Controller> {
    let class = service.spec.load_balancer_class.as_deref();
    let by_aws_lbc =
        class.is_some() || service.annotation(AWS_TYPE).is_some_and(|value| AWS_LBC_TYPES.contains(&value));
    let name = match infrastructure {
        "aws" if by_aws_lbc => return by_name("aws-lbc"),
        "aws" => return by_name("aws-ccm"),
        "" => return None,
        other => other,
    };
    CONTROLLERS.iter().find(|controller| controller.infrastructure == name)
}

impl Controller {
    /// Why this controller may make a public load balancer of a Service; `None` where it makes an internal one for certain.
    pub fn public<'a>(&self, service: &'a Service) -> Option<Public<'a>> {
        if let Some(class) = service.spec.load_balancer_class.as_deref() {
            match self.classes.iter().find(|known| known.name == class).map(|known| known.reach) {
                None => return Some(Public::Class(class)),
                Some(Reach::Internal) => return None,
                Some(Reach::External) => return Some(Public::ExternalClass(class)),
                Some(Reach::Depends) => {}
            }
        }
        if let Some(key) = self.adopts.filter(|key| service.annotation(key).is_some()) {
            return Some(Public::Unclear(key));
        }
        match self.switches_for(service) {
            Ok(switches) => self.judge(switches, service),
            Err(key) => Some(Public::Unclear(key)),
        }
    }

    /// The annotations that count; or the one that leaves open which do.
    fn switches_for(&self, service: &Service) -> Result<&'static [Switch], &'static str> {
        let Some((key, value, switches)) = self.variant else { return Ok(self.switches) };
        match service.annotation(key) {
            Some(found) if found == value => Ok(switches),
            // A parser that folds case would read the other ones.
            Some(found) if found.eq_ignore_ascii_case(value) => Err(key),
            _ => Ok(self.switches),
        }
    }

    fn judge<'a>(&self, switches: &'static [Switch], service: &'a Service) -> Option<Public<'a>> {
        let mut is_internal = false;
        for switch in switches {
            match service.annotation(switch.key) {
                Some(found) if !switch.reads.as_internal(found) => {
                    return Some(Public::Value { key: switch.key, found, set: switch.set });
                }
                Some(_) if self.precedence == Precedence::First => return None,
                Some(_) => is_internal = true,
                None => {}
            }
        }
        let first = switches.first().filter(|_| !is_internal)?;
        Some(Public::Missing { key: first.key, set: first.set })
    }

    /// The annotation and its value that make a Service's load balancer internal, where nothing says what it is to be: no
    /// class, and none of the controller's annotations.
    pub fn switch_to_set(&self, service: &Service) -> Option<(&'static str, &'static str)> {
        match self.public(service)? {
            Public::Missing { key, set } => Some((key, set?)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{labels, load_balancer};

    const AWS_SCHEME: &str = "service.beta.kubernetes.io/aws-load-balancer-scheme";
    const AWS_INTERNAL: &str = "service.beta.kubernetes.io/aws-load-balancer-internal";
    const GCE_NEW: &str = "networking.gke.io/load-balancer-type";
    const GCE_OLD: &str = "cloud.google.com/load-balancer-type";

    fn is_internal<const N: usize>(name: &str, class: Option<&str>, annotations: [(&str, &str); N]) -> bool {
        let mut service = load_balancer("w", 80);
        service.spec.load_balancer_class = class.map(str::to_owned);
        service.metadata.annotations = labels(annotations);
        by_name(name).expect("a controller").public(&service).is_none()
    }

    #[test]
    fn each_controller_reads_with_its_own_parser() {
        let azure = "service.beta.kubernetes.io/azure-load-balancer-internal";
        assert!(is_internal("azure", None, [(azure, "true")]));
        assert!(!is_internal("azure", None, [(azure, "True")]));
        assert!(is_internal("aws-ccm", None, [(AWS_INTERNAL, "0.0.0.0/0")]));
        assert!(!is_internal("aws-ccm", None, [(AWS_INTERNAL, "false")]));
        assert!(!is_internal("aws-ccm", None, [(AWS_SCHEME, "internal")]));
        assert!(is_internal("gce", None, [(GCE_NEW, "Internal")]));
        assert!(!is_internal("gce", None, [(GCE_NEW, "INTERNAL")]));
        assert!(!is_internal("hcloud", None, [("load-balancer.hetzner.cloud/use-private-ip", "true")]));
        let huawei = "kubernetes.io/elb.autocreate";
        assert!(is_internal("huawei", None, [(huawei, r#"{"name":"n","type":"inner"}"#)]));
        assert!(!is_internal("huawei", None, [(huawei, r#"{"type":"inner","type":"public"}"#)]));
        assert!(!is_internal("huawei", None, [(huawei, r#"{"type":"inner","type":"\u0070ublic"}"#)]));
        assert!(!is_internal("huawei", None, [(huawei, r#"{"type":"inner"}"#), ("kubernetes.io/elb.id", "x")]));
    }

    #[test]
    fn a_contradiction_is_not_internal_and_a_newer_key_shadows_the_older_one() {
        assert!(is_internal("aws-lbc", Some("service.k8s.aws/nlb"), [(AWS_SCHEME, "internal")]));
        assert!(!is_internal("aws-lbc", None, [(AWS_SCHEME, "internet-facing"), (AWS_INTERNAL, "true")]));
        assert!(!is_internal("aws-lbc", None, [(AWS_SCHEME, "internal"), (AWS_INTERNAL, "false")]));
        assert!(!is_internal("gce", None, [(GCE_NEW, "External"), (GCE_OLD, "Internal")]));
        assert!(is_internal("gce", None, [(GCE_NEW, "Internal"), (GCE_OLD, "External")]));
        assert!(is_internal("gce", None, [(GCE_OLD, "internal")]));
    }

    #[test]
    fn a_network_load_balancer_reads_its_own_key() {
        let (kind, lb) =
            ("oci.oraclecloud.com/load-balancer-type", "service.beta.kubernetes.io/oci-load-balancer-internal");
        let nlb = "oci-network-load-balancer.oraclecloud.com/internal";
        assert!(is_internal("oci", None, [(lb, "true")]));
        assert!(!is_internal("oci", None, [(lb, "true"), (kind, "nlb")]));
        assert!(is_internal("oci", None, [(nlb, "true"), (kind, "nlb")]));
        assert!(!is_internal("oci", None, [(nlb, "true"), (lb, "true"), (kind, "NLB")]));
    }

    #[test]
    fn what_serves_another_class_does_not_read_the_annotations() {
        assert!(!is_internal("aws-lbc", Some("tailscale"), [(AWS_SCHEME, "internal")]));
        assert!(is_internal("gce", Some("networking.gke.io/l4-regional-internal"), []));
        assert!(!is_internal("gce", Some("networking.gke.io/l4-regional-external"), [(GCE_NEW, "Internal")]));
    }

    #[test]
    fn who_serves_a_service_on_aws_depends_on_the_service() {
        let mut service = load_balancer("w", 80);
        let name = |service: &Service| on("aws", service).map(|controller| controller.name);
        assert_eq!(name(&service), Some("aws-ccm"));
        service.metadata.annotations = labels([(AWS_TYPE, "external")]);
        assert_eq!(name(&service), Some("aws-lbc"));
        service.metadata.annotations.clear();
        service.spec.load_balancer_class = Some("service.k8s.aws/nlb".to_owned());
        assert_eq!(name(&service), Some("aws-lbc"));
    }

    #[test]
    fn what_is_to_be_set_makes_it_internal_and_nothing_is_overridden() {
        for controller in &CONTROLLERS {
            let mut service = load_balancer("w", 80);
            let Some((key, value)) = controller.switch_to_set(&service) else {
                assert!(controller.switches.iter().all(|switch| switch.set.is_none()), "{}", controller.name);
                continue;
            };
            service.metadata.annotations = labels([(key, value)]);
            assert_eq!(controller.public(&service), None, "{}", controller.name);
            service.metadata.annotations = labels([(key, "something else")]);
            assert_eq!(controller.switch_to_set(&service), None, "{}", controller.name);
        }
    }
}
