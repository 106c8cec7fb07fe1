//! Decides whether a load balancer is certainly an internal one.
//!
//! Each controller reads its own annotation with its own parser, and a value that looks internal to
//! a person may be public to the controller (`"True"` on Azure). So the rules are the controllers'
//! own: keys in their exact case, and a row only for its own controller and the classes that this
//! serves. Where two keys contradict each other, the load balancer is not internal.

pub use super::controller::{
    Controller, Default, Enforces, Precedence, SOURCE_RANGES, Switch, Variant, When,
};
pub use super::controllers::CONTROLLERS;

use super::classes::Reach;
use super::controller::AWS_TYPE;
use super::reads::Reading;
use super::voids::{Voided, Voiding, voiding};
use sallyport_policy::service::Service;

const AWS_LBC_TYPES: [&str; 2] = ["external", "nlb-ip"];

/// A reason why a load balancer is not certainly internal.
#[derive(Debug, Clone, Copy)]
pub enum Public<'a> {
    /// The controller is not known to serve this class.
    Class {
        /// The class.
        class: &'a str,
        /// Some if the annotations make no internal load balancer for a controller that serves the
        /// class: true if it is certainly public.
        public: Option<bool>,
    },
    /// The class is an external one.
    ExternalClass(&'a str),
    /// An annotation has another value than those that make it internal.
    Value {
        /// The annotation.
        key: &'static str,
        /// The value found.
        found: &'a str,
        /// The value to write instead.
        set: Option<&'static str>,
        /// True if the load balancer is certainly public. A controller refuses some values, and two
        /// annotations may contradict each other.
        is_certain: bool,
    },
    /// The controller's annotation is missing.
    Missing {
        /// The annotation.
        key: &'static str,
        /// The value to write.
        set: Option<&'static str>,
        /// True if the load balancer is certainly public.
        is_certain: bool,
    },
    /// The controller makes public load balancers only.
    NoSwitch,
    /// An annotation voids the switch.
    Voided(Voiding<'a>),
}

impl Public<'_> {
    /// True if the load balancer is certainly public.
    pub fn is_certain(&self) -> bool {
        match self {
            Self::ExternalClass(_) | Self::NoSwitch => true,
            Self::Value { is_certain, .. } | Self::Missing { is_certain, .. } => *is_certain,
            Self::Class { public, .. } => *public == Some(true),
            Self::Voided(_) => false,
        }
    }
}

/// Returns a controller by its name.
pub fn by_name(name: &str) -> Option<&'static Controller> {
    CONTROLLERS
        .iter()
        .find(|controller| controller.name == name)
}

/// Returns the controller that serves a Service on the Nodes of an infrastructure
/// ([`super::nodes::provider`]).
pub fn on(infrastructure: &str, service: &Service) -> Option<&'static Controller> {
    let class = service.spec.load_balancer_class.as_deref();
    let by_aws_lbc = class.is_some()
        || service
            .annotation(AWS_TYPE)
            .is_some_and(|value| AWS_LBC_TYPES.contains(&value));
    let name = match infrastructure {
        "aws" if by_aws_lbc => return by_name("aws-lbc"),
        "aws" => return by_name("aws-ccm"),
        "" => return None,
        other => other,
    };
    CONTROLLERS
        .iter()
        .find(|controller| controller.infrastructure == name)
}

impl Controller {
    /// Returns the first reason why this controller may make a public load balancer of a Service;
    /// `None` where it certainly makes an internal one.
    pub fn public<'a>(&'a self, service: &'a Service) -> Option<Public<'a>> {
        self.reasons(service, None).into_iter().next()
    }

    /// Returns every reason why this controller may make a public load balancer of a Service. None:
    /// it makes an internal one for certain. `old` is the Service before the update ([`voiding`]).
    pub fn reasons<'a>(
        &'a self,
        service: &'a Service,
        old: Option<&'a Service>,
    ) -> Vec<Public<'a>> {
        let by_class = service
            .spec
            .load_balancer_class
            .as_deref()
            .map(|class| (class, self.reach(class)));
        let mut reasons = vec![];
        match by_class {
            Some((class, None)) => {
                let public = self.judge(service).map(|public| public.is_certain());
                reasons.push(Public::Class { class, public });
            }
            Some((class, Some(Reach::External))) => reasons.push(Public::ExternalClass(class)),
            Some((_, Some(Reach::Internal))) => {}
            Some((_, Some(Reach::Depends))) | None => reasons.extend(self.judge(service)),
        }
        reasons.extend(voiding(service, old, Voided::Internal, self.name).map(Public::Voided));
        reasons
    }

    /// Returns the reach of a class; `None` where this controller does not serve it.
    fn reach(&self, class: &str) -> Option<Reach> {
        self.classes
            .iter()
            .find(|known| known.name == class)
            .map(|known| known.reach)
    }

    /// Returns the kind of load balancer that the Service asks for, where it is not the usual one.
    fn variant(&self, service: &Service) -> Option<&Variant> {
        self.variant.as_ref().filter(|variant| match variant.when {
            When::Annotation(key, value) => service
                .annotation(key)
                .is_some_and(|found| found.eq_ignore_ascii_case(value)),
            When::Class(class) => service.spec.load_balancer_class.as_deref() == Some(class),
        })
    }

    /// Returns the annotations that make a load balancer internal of the kind that the Service asks
    /// for.
    pub fn switches(&self, service: &Service) -> &'static [Switch] {
        self.switches_for(service).0
    }

    /// Returns the annotations that it reads for a Service, and those that may contradict them.
    fn switches_for(&self, service: &Service) -> (&'static [Switch], &'static [Switch]) {
        match self.variant(service) {
            Some(variant) => (variant.switches, variant.contradicting),
            None => (self.switches, self.contradicting),
        }
    }

    fn judge<'a>(&self, service: &'a Service) -> Option<Public<'a>> {
        let (switches, contradicting) = self.switches_for(service);
        let (mut is_internal, mut public) = (false, None);
        for (index, switch) in switches.iter().chain(contradicting).enumerate() {
            let Some(found) = service.annotation(switch.key) else {
                continue;
            };
            if index >= switches.len() && !is_internal {
                break;
            }
            let reading = switch.reads.read(found);
            if reading == Reading::Yes {
                is_internal = true;
            } else if public.is_none() {
                let is_certain = reading == Reading::No;
                public = Some(Public::Value {
                    key: switch.key,
                    found,
                    set: switch.set,
                    is_certain,
                });
            }
            if self.precedence == Precedence::First && public.is_some() {
                break;
            }
        }
        match (public, switches.first()) {
            (
                Some(Public::Value {
                    key, found, set, ..
                }),
                _,
            ) if is_internal => Some(Public::Value {
                key,
                found,
                set,
                is_certain: false,
            }),
            (Some(public), _) => Some(public),
            (None, _) if is_internal || self.default == Default::Internal => None,
            (None, Some(first)) => Some(Public::Missing {
                key: first.key,
                set: first.set,
                is_certain: self.default == Default::Public,
            }),
            (None, None) => Some(Public::NoSwitch),
        }
    }

    /// Returns how this controller treats the source ranges of a Service, unless an annotation
    /// voids them ([`super::voids`]).
    pub fn enforces(&self, service: &Service) -> Enforces {
        let class = service.spec.load_balancer_class.as_deref();
        if class.is_some_and(|class| self.reach(class).is_none()) {
            return Enforces::Depends;
        }
        match self
            .variant(service)
            .map_or(self.enforces, |variant| variant.enforces)
        {
            Enforces::Where(annotations) => {
                let has = |key, values: &[&str]| {
                    let found = service.annotation(key);
                    found.is_some_and(|found| {
                        values.iter().any(|value| value.eq_ignore_ascii_case(found))
                    })
                };
                if annotations.iter().any(|(key, values)| has(key, values)) {
                    Enforces::Yes
                } else {
                    Enforces::No
                }
            }
            enforces => enforces,
        }
    }

    /// Returns the annotation and its value that make a Service's load balancer internal, where
    /// nothing says what it is to be: no class, and none of the controller's annotations.
    pub fn switch_to_set(&self, service: &Service) -> Option<(&'static str, &'static str)> {
        let (_, contradicting) = self.switches_for(service);
        let says = |switch: &Switch| service.annotation(switch.key).is_some();
        match self.reasons(service, None).as_slice() {
            [Public::Missing { key, set, .. }] if !contradicting.iter().any(says) => {
                Some((key, (*set)?))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sallyport_policy::testing::{labels, load_balancer};

    const AWS_SCHEME: &str = "service.beta.kubernetes.io/aws-load-balancer-scheme";
    const AWS_INTERNAL: &str = "service.beta.kubernetes.io/aws-load-balancer-internal";
    const GCE_NEW: &str = "networking.gke.io/load-balancer-type";
    const GCE_OLD: &str = "cloud.google.com/load-balancer-type";

    fn is_internal<const N: usize>(
        name: &str,
        class: Option<&str>,
        annotations: [(&str, &str); N],
    ) -> bool {
        let mut service = load_balancer("w", 80);
        service.spec.load_balancer_class = class.map(str::to_owned);
        service.metadata.annotations = labels(annotations);
        by_name(name)
            .expect("a controller")
            .public(&service)
            .is_none()
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
        assert!(!is_internal(
            "hcloud",
            None,
            [("load-balancer.hetzner.cloud/use-private-ip", "true")]
        ));
        let huawei = "kubernetes.io/elb.autocreate";
        assert!(is_internal(
            "huawei",
            None,
            [(huawei, r#"{"name":"n","type":"inner"}"#)]
        ));
        assert!(is_internal(
            "scaleway",
            None,
            [("service.beta.kubernetes.io/scw-loadbalancer-private", "1")]
        ));
        assert!(is_internal(
            "stackit",
            None,
            [("lb.stackit.cloud/internal-lb", "T")]
        ));
        assert!(!is_internal(
            "vultr",
            None,
            [("service.beta.kubernetes.io/vultr-loadbalancer-vpc", "true")]
        ));
        let coreweave = "service.beta.kubernetes.io/coreweave-load-balancer-type";
        assert!(is_internal("coreweave", None, []));
        assert!(!is_internal("coreweave", None, [(coreweave, "public")]));
        assert!(!is_internal(
            "huawei",
            None,
            [
                (huawei, r#"{"type":"inner"}"#),
                ("kubernetes.io/elb.id", "x")
            ]
        ));
    }

    #[test]
    fn a_contradiction_is_not_internal_and_newer_keys_win() {
        assert!(is_internal(
            "aws-lbc",
            Some("service.k8s.aws/nlb"),
            [(AWS_SCHEME, "internal")]
        ));
        assert!(!is_internal(
            "aws-lbc",
            None,
            [(AWS_SCHEME, "internet-facing"), (AWS_INTERNAL, "true")]
        ));
        assert!(!is_internal(
            "aws-lbc",
            None,
            [(AWS_SCHEME, "internal"), (AWS_INTERNAL, "false")]
        ));
        assert!(!is_internal(
            "gce",
            None,
            [(GCE_NEW, "External"), (GCE_OLD, "Internal")]
        ));
        assert!(!is_internal(
            "gce",
            None,
            [(GCE_NEW, "Internal"), (GCE_OLD, "External")]
        ));
        assert!(is_internal(
            "gce",
            None,
            [(GCE_NEW, "Internal"), (GCE_OLD, "internal")]
        ));
        assert!(is_internal("gce", None, [(GCE_OLD, "internal")]));
    }

    #[test]
    fn what_another_controller_of_the_cloud_reads_may_contradict() {
        for (scheme, internal) in [
            ("internal", true),
            ("internet-facing", false),
            ("Internal", false),
        ] {
            let found = is_internal(
                "aws-ccm",
                None,
                [(AWS_INTERNAL, "true"), (AWS_SCHEME, scheme)],
            );
            assert_eq!(found, internal, "{scheme}");
        }
        let (kind, lb, nlb) = (
            "oci.oraclecloud.com/load-balancer-type",
            "service.beta.kubernetes.io/oci-load-balancer-internal",
            "oci-network-load-balancer.oraclecloud.com/internal",
        );
        assert!(is_internal("oci", None, [(lb, "true"), (nlb, "true")]));
        assert!(!is_internal("oci", None, [(lb, "true"), (nlb, "false")]));
        assert!(!is_internal(
            "oci",
            None,
            [(kind, "nlb"), (nlb, "true"), (lb, "false")]
        ));
        let (new, old) = (
            "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-address-type",
            "service.beta.kubernetes.io/alicloud-loadbalancer-address-type",
        );
        assert!(!is_internal(
            "alibaba",
            None,
            [(new, "intranet"), (old, "internet")]
        ));
    }

    #[test]
    fn a_contradicting_annotation_is_left_to_its_author() {
        let mut service = load_balancer("w", 80);
        service.metadata.annotations = labels([(AWS_SCHEME, "internet-facing")]);
        let ccm = by_name("aws-ccm").expect("a controller");
        assert_eq!(ccm.switch_to_set(&service), None);
        assert_eq!(
            ccm.public(&service).map(|public| public.is_certain()),
            Some(true)
        );
    }

    #[test]
    fn a_network_load_balancer_reads_its_own_key() {
        let (kind, lb) = (
            "oci.oraclecloud.com/load-balancer-type",
            "service.beta.kubernetes.io/oci-load-balancer-internal",
        );
        let nlb = "oci-network-load-balancer.oraclecloud.com/internal";
        assert!(is_internal("oci", None, [(lb, "true")]));
        assert!(!is_internal("oci", None, [(lb, "true"), (kind, "nlb")]));
        assert!(is_internal("oci", None, [(nlb, "true"), (kind, "nlb")]));
        assert!(is_internal("oci", None, [(nlb, "true"), (kind, "NLB")]));
        assert!(!is_internal("oci", None, [(lb, "true"), (kind, "NLB")]));
        let alibaba = "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-address-type";
        assert!(is_internal(
            "alibaba",
            Some("alibabacloud.com/nlb"),
            [(alibaba, "Intranet")]
        ));
        assert!(!is_internal("alibaba", None, [(alibaba, "Intranet")]));
    }

    #[test]
    fn what_serves_another_class_does_not_read_the_annotations() {
        assert!(!is_internal(
            "aws-lbc",
            Some("tailscale"),
            [(AWS_SCHEME, "internal")]
        ));
        assert!(is_internal(
            "gce",
            Some("networking.gke.io/l4-regional-internal"),
            []
        ));
        assert!(!is_internal(
            "gce",
            Some("networking.gke.io/l4-regional-external"),
            [(GCE_NEW, "Internal")]
        ));
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
    fn the_switch_to_set_makes_it_internal_and_overrides_nothing() {
        for controller in &CONTROLLERS {
            let mut service = load_balancer("w", 80);
            let Some((key, value)) = controller.switch_to_set(&service) else {
                assert!(
                    controller
                        .switches
                        .iter()
                        .all(|switch| switch.set.is_none()),
                    "{}",
                    controller.name
                );
                continue;
            };
            service.metadata.annotations = labels([(key, value)]);
            assert!(controller.public(&service).is_none(), "{}", controller.name);
            service.metadata.annotations = labels([(key, "something else")]);
            assert_eq!(
                controller.switch_to_set(&service),
                None,
                "{}",
                controller.name
            );
        }
    }

    #[test]
    fn certainly_public_differs_from_not_certain() {
        let certain = |name: &str, annotations: &[(&str, &str)]| {
            let mut service = load_balancer("w", 80);
            service.metadata.annotations = annotations
                .iter()
                .map(|&(k, v)| (k.to_owned(), v.to_owned()))
                .collect();
            let controller = by_name(name).expect("a controller");
            controller
                .public(&service)
                .map(|public| public.is_certain())
        };
        assert_eq!(certain("aws-lbc", &[]), Some(false));
        assert_eq!(certain("aws-lbc", &[(AWS_SCHEME, "Internal")]), Some(false));
        assert_eq!(
            certain("aws-lbc", &[(AWS_SCHEME, "internet-facing")]),
            Some(true)
        );
        assert_eq!(
            certain(
                "aws-lbc",
                &[(AWS_INTERNAL, "false"), (AWS_SCHEME, "internal")]
            ),
            Some(false)
        );
        assert_eq!(certain("aws-ccm", &[]), Some(true));
        assert_eq!(certain("vultr", &[]), Some(true));
    }

    #[test]
    fn a_network_load_balancer_with_managed_rules_enforces_ranges() {
        let enforces = |annotations: &[(&str, &str)]| {
            let mut service = load_balancer("w", 80);
            service.metadata.annotations = annotations
                .iter()
                .map(|&(k, v)| (k.to_owned(), v.to_owned()))
                .collect();
            by_name("oci").expect("a controller").enforces(&service)
        };
        let kind = ("oci.oraclecloud.com/load-balancer-type", "nlb");
        assert_eq!(enforces(&[]), Enforces::Yes);
        assert_eq!(enforces(&[kind]), Enforces::No);
        assert_eq!(
            enforces(&[
                kind,
                ("oci.oraclecloud.com/security-rule-management-mode", "nsg")
            ]),
            Enforces::Yes
        );
    }
}
