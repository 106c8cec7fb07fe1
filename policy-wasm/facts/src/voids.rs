//! Annotations that void the effect of others: a switch that makes a load balancer internal, or
//! source ranges.
//!
//! A controller that adopts an existing load balancer leaves it as public as it is; a second
//! address family, an added address or a private-link service reaches around the switch; security
//! groups and rules of the client's own reach around source ranges.

use super::reads::{Reading, Reads};
use sallyport_policy::service::{Service, ServiceType};

/// The effect that an annotation voids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Voided {
    /// The switch that makes a load balancer internal.
    Internal,
    /// Source ranges.
    Ranges,
    /// Both.
    Both,
}

impl Voided {
    /// Returns true if this includes the other effect.
    pub fn includes(self, other: Self) -> bool {
        self == other || self == Self::Both
    }
}

/// The reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The annotation takes an existing load balancer.
    Adopts,
    /// Like `Adopts`, with an annotation that the controller itself writes once it has made a load
    /// balancer.
    AdoptsOrOwns,
    /// A second address family has a reach of its own.
    SecondFamily,
    /// A private-link service publishes the load balancer.
    PrivateLink,
    /// Public addresses are added.
    Addresses,
    /// The annotation chooses from where the address comes.
    Pool,
    /// A router forwards ports.
    Forwards,
    /// Rules of the client's own admit clients beside the source ranges, or in their place.
    OwnRules,
    /// The controller manages no rules.
    NoRules,
    /// The source ranges name who is denied.
    Inverts,
    /// The controller leaves the load balancer as it was.
    Unmanaged,
    /// The controller refuses it beside `spec.loadBalancerSourceRanges`, and leaves the load
    /// balancer as it was.
    BesideField,
}

impl Cause {
    /// Returns the effect of the annotation, for a message.
    pub fn text(self) -> &'static str {
        match self {
            Self::Adopts | Self::AdoptsOrOwns => "takes an existing load balancer",
            Self::SecondFamily => "gives the IPv6 address a reach of its own",
            Self::PrivateLink => "publishes the load balancer by a private-link service",
            Self::Addresses => "adds public addresses",
            Self::Pool => "chooses where the address comes from",
            Self::Forwards => "lets a router forward ports to it",
            Self::OwnRules => "admits clients beside the source ranges or in their place",
            Self::NoRules => "keeps the controller from enforcing source ranges",
            Self::Inverts => "makes the source ranges those that are denied",
            Self::Unmanaged => "makes the controller leave the load balancer as it was",
            Self::BesideField => "is refused beside spec.loadBalancerSourceRanges",
        }
    }

    /// Returns true if another value voids more, or something else: another load balancer, other
    /// clients.
    pub fn depends_on_value(self) -> bool {
        matches!(
            self,
            Self::Adopts
                | Self::AdoptsOrOwns
                | Self::Addresses
                | Self::Pool
                | Self::OwnRules
                | Self::BesideField
        )
    }
}

/// An annotation that voids the effect of others.
#[derive(Debug, Clone, Copy)]
pub struct Void {
    /// The controller that reads it.
    pub by: &'static str,
    /// The annotation.
    pub key: &'static str,
    /// The parser of its value. A value that the controller refuses counts as one that voids,
    /// because the controller then changes nothing.
    pub reads: Reads,
    /// The effect that it voids.
    pub voids: Voided,
    /// The reason.
    pub cause: Cause,
    /// The source.
    #[cfg(not(target_family = "wasm"))]
    pub source: &'static str,
}

#[cfg_attr(
    target_family = "wasm",
    expect(unused_variables, reason = "the source is for people")
)]
const fn row(
    by: &'static str,
    key: &'static str,
    reads: Reads,
    voids: Voided,
    cause: Cause,
    source: &'static str,
) -> Void {
    Void {
        by,
        key,
        reads,
        voids,
        cause,
        #[cfg(not(target_family = "wasm"))]
        source,
    }
}

/// Controllers that run beside a cloud's own.
pub const BESIDE: [&str; 2] = ["cilium", "kube-vip"];

use Cause::*;
use Reads::{Contains, Exactly, Folded, Not, ParseBool};
use Voided::*;

/// Every annotation that is known to void the effect of others.
pub static VOIDS: [Void; 37] = [
    row(
        "aws-lbc",
        "service.beta.kubernetes.io/aws-load-balancer-attributes",
        // The default is right. Values are a list of `key=value`, so that only the plain spelling
        // is told apart.
        Contains("ipv6.deny_all_igw_traffic"),
        Internal,
        SecondFamily,
        "AWS ELBv2 API, attribute ipv6.deny_all_igw_traffic, true for internal load balancers \
         unless set",
    ),
    row(
        "aws-lbc",
        "service.beta.kubernetes.io/aws-load-balancer-security-groups",
        Reads::PRESENCE,
        Ranges,
        OwnRules,
        "kubernetes-sigs/aws-load-balancer-controller pkg/service/model_build_load_balancer.go: in \
         place of the managed group",
    ),
    row(
        "aws-lbc",
        "service.beta.kubernetes.io/aws-load-balancer-security-group-prefix-lists",
        Reads::PRESENCE,
        Ranges,
        OwnRules,
        "kubernetes-sigs/aws-load-balancer-controller pkg/service/model_build_managed_sg.go",
    ),
    row(
        "aws-lbc",
        "service.beta.kubernetes.io/aws-load-balancer-disable-nlb-sg",
        ParseBool,
        Ranges,
        NoRules,
        "kubernetes-sigs/aws-load-balancer-controller pkg/service/model_build_load_balancer.go",
    ),
    row(
        "aws-lbc",
        "service.beta.kubernetes.io/aws-load-balancer-inbound-sg-rules-on-private-link-traffic",
        Not(&["on"]),
        Ranges,
        PrivateLink,
        "kubernetes-sigs/aws-load-balancer-controller pkg/service/model_build_load_balancer.go: \
         off exempts PrivateLink",
    ),
    row(
        "aws-ccm",
        "service.beta.kubernetes.io/aws-load-balancer-security-groups",
        Reads::PRESENCE,
        Ranges,
        OwnRules,
        "kubernetes/cloud-provider-aws pkg/providers/v1/aws.go buildELBSecurityGroupList: no rules \
         are set up then",
    ),
    row(
        "aws-ccm",
        "service.beta.kubernetes.io/aws-load-balancer-extra-security-groups",
        Reads::PRESENCE,
        Ranges,
        OwnRules,
        "kubernetes/cloud-provider-aws pkg/providers/v1/aws.go buildELBSecurityGroupList",
    ),
    row(
        "azure",
        "service.beta.kubernetes.io/azure-pls-create",
        Folded("true"),
        Both,
        PrivateLink,
        "kubernetes-sigs/cloud-provider-azure pkg/provider/azure_privatelinkservice.go; \
         azure-pls-visibility tells to whom, \
            `*` is every subscription",
    ),
    row(
        "azure",
        "service.beta.kubernetes.io/azure-additional-public-ips",
        Reads::PRESENCE,
        Internal,
        Addresses,
        "kubernetes-sigs/cloud-provider-azure pkg/provider/azure_loadbalancer.go",
    ),
    row(
        "azure",
        "service.beta.kubernetes.io/azure-allowed-service-tags",
        Not(&[]),
        Ranges,
        OwnRules,
        "kubernetes-sigs/cloud-provider-azure pkg/provider/loadbalancer/accesscontrol.go: a tag is \
         `Internet`, too",
    ),
    row(
        "azure",
        "service.beta.kubernetes.io/azure-allowed-ip-ranges",
        Not(&[]),
        Ranges,
        BesideField,
        "kubernetes-sigs/cloud-provider-azure pkg/provider/loadbalancer/accesscontrol.go \
         NewAccessControl; alone it stands for \
            the field",
    ),
    row(
        "azure",
        "service.beta.kubernetes.io/azure-disable-load-balancer-nsg-rule",
        Folded("true"),
        Ranges,
        NoRules,
        "kubernetes-sigs/cloud-provider-azure pkg/consts/helpers.go and \
         pkg/provider/azure_loadbalancer.go",
    ),
    row(
        "oci",
        "oci.oraclecloud.com/security-rule-management-mode",
        Exactly(&["None"]),
        Ranges,
        NoRules,
        "oracle/oci-cloud-controller-manager pkg/cloudprovider/providers/oci/load_balancer_spec.go \
         getRuleManagementMode",
    ),
    row(
        "oci",
        "service.beta.kubernetes.io/oci-load-balancer-security-list-management-mode",
        Exactly(&["None"]),
        Ranges,
        NoRules,
        "the same file, getSecurityListManagementMode",
    ),
    row(
        "oci",
        "oci.oraclecloud.com/oci-network-security-groups",
        Reads::PRESENCE,
        Ranges,
        OwnRules,
        "the same file, getNetworkSecurityGroupIds",
    ),
    row(
        "oci",
        "oci-network-load-balancer.oraclecloud.com/oci-network-security-groups",
        Reads::PRESENCE,
        Ranges,
        OwnRules,
        "the same file, getNetworkSecurityGroupIds",
    ),
    row(
        "digitalocean",
        "service.kubernetes.io/do-loadbalancer-disown",
        ParseBool,
        Both,
        Unmanaged,
        "digitalocean/digitalocean-cloud-controller-manager \
         cloud-controller-manager/do/loadbalancers.go getDisownLB",
    ),
    row(
        "digitalocean",
        "kubernetes.digitalocean.com/load-balancer-id",
        Reads::PRESENCE,
        Internal,
        AdoptsOrOwns,
        "the same file, retrieveAndAnnotateLoadBalancer",
    ),
    row(
        "alibaba",
        "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-id",
        Reads::PRESENCE,
        Both,
        Adopts,
        "kubernetes/cloud-provider-alibaba-cloud \
         pkg/controller/service/{clbv1,nlbv2}/loadbalancer.go",
    ),
    row(
        "alibaba",
        "service.beta.kubernetes.io/alicloud-loadbalancer-id",
        Reads::PRESENCE,
        Both,
        Adopts,
        "kubernetes/cloud-provider-alibaba-cloud \
         pkg/controller/service/reconcile/annotation/annotations.go: the older prefix",
    ),
    row(
        "alibaba",
        "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-ipv6-address-type",
        Folded("internet"),
        Internal,
        SecondFamily,
        "kubernetes/cloud-provider-alibaba-cloud pkg/controller/service/nlbv2/loadbalancer.go",
    ),
    row(
        "alibaba",
        "service.beta.kubernetes.io/alicloud-loadbalancer-ipv6-address-type",
        Folded("internet"),
        Internal,
        SecondFamily,
        "the same file: the older prefix",
    ),
    row(
        "alibaba",
        "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-external-ip-type",
        Exactly(&["eip"]),
        Internal,
        Addresses,
        "kubernetes/cloud-provider-alibaba-cloud \
         pkg/controller/service/clbv1/service_controller.go",
    ),
    row(
        "alibaba",
        "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-security-group-ids",
        Reads::PRESENCE,
        Ranges,
        OwnRules,
        "kubernetes/cloud-provider-alibaba-cloud pkg/controller/service/nlbv2/loadbalancer.go",
    ),
    row(
        "tencent",
        "service.kubernetes.io/tke-existed-lbid",
        Reads::PRESENCE,
        Both,
        Adopts,
        "tencentcloud.com/document/product/457/39142",
    ),
    row(
        "tencent",
        "service.cloud.tencent.com/mode",
        Exactly(&["skip"]),
        Both,
        Unmanaged,
        "cloud.tencent.com/document/product/457/51258",
    ),
    row(
        "baidu",
        "service.beta.kubernetes.io/cce-load-balancer-id",
        Reads::PRESENCE,
        Internal,
        AdoptsOrOwns,
        "cloud.baidu.com/doc/CCE/s/zlako7b04",
    ),
    row(
        "huawei",
        "kubernetes.io/elb.id",
        Reads::PRESENCE,
        Both,
        AdoptsOrOwns,
        "support.huaweicloud.com/usermanual-cce cce_10_0385; \
            kubernetes-sigs/cloud-provider-huaweicloud \
            pkg/cloudprovider/huaweicloud/dedicatedloadbalancer.go",
    ),
    row(
        "huawei",
        "kubernetes.io/elb.eip-id",
        Reads::PRESENCE,
        Internal,
        Addresses,
        "kubernetes-sigs/cloud-provider-huaweicloud \
         pkg/cloudprovider/huaweicloud/dedicatedloadbalancer.go",
    ),
    row(
        "huawei",
        "kubernetes.io/elb.eip-auto-create-option",
        Reads::PRESENCE,
        Internal,
        Addresses,
        "kubernetes-sigs/cloud-provider-huaweicloud \
         pkg/cloudprovider/huaweicloud/sharedloadbalancer.go",
    ),
    row(
        "scaleway",
        "service.beta.kubernetes.io/scw-loadbalancer-externally-managed",
        ParseBool,
        Internal,
        Adopts,
        "scaleway/scaleway-cloud-controller-manager scaleway/loadbalancers.go EnsureLoadBalancer",
    ),
    row(
        "linode",
        "service.beta.kubernetes.io/linode-loadbalancer-nodebalancer-id",
        Not(&["", "0"]),
        Internal,
        Adopts,
        "linode/linode-cloud-controller-manager cloud/linode/loadbalancers.go \
         getNodeBalancerForService",
    ),
    row(
        "linode",
        "service.beta.kubernetes.io/linode-loadbalancer-reserved-ipv4",
        Reads::PRESENCE,
        Internal,
        Addresses,
        "linode/linode-cloud-controller-manager cloud/linode/loadbalancers.go createNodeBalancer",
    ),
    row(
        "coreweave",
        "metallb.universe.tf/address-pool",
        Reads::PRESENCE,
        Internal,
        Pool,
        "docs.coreweave.com/coreweave-kubernetes/exposing-applications: public pools have names",
    ),
    row(
        "coreweave",
        "metallb.io/address-pool",
        Reads::PRESENCE,
        Internal,
        Pool,
        "the newer key of MetalLB",
    ),
    row(
        "kube-vip",
        "kube-vip.io/forwardUPNP",
        Exactly(&["true"]),
        Internal,
        Forwards,
        "kube-vip/kube-vip pkg/services/services.go isUPNPEnabled",
    ),
    row(
        "cilium",
        "service.cilium.io/src-ranges-policy",
        Folded("deny"),
        Ranges,
        Inverts,
        "cilium/cilium pkg/annotation/k8s.go",
    ),
];

/// A row that a Service brings to bear.
#[derive(Debug, Clone, Copy)]
pub struct Voiding<'a> {
    /// The row.
    pub row: &'static Void,
    /// The annotation's value.
    pub found: &'a str,
}

impl Voiding<'_> {
    /// Returns the key of the violation: the annotation, and its value if another value would be
    /// another violation.
    pub fn key(&self) -> String {
        let value = if self.row.cause.depends_on_value() {
            format!("={}", self.found)
        } else {
            String::new()
        };
        format!("voided:{}{value}", self.row.key)
    }
}

/// Returns the annotations of a Service by which a controller voids something. `old` is the Service
/// before the update: it tells whether the Service names an existing load balancer, or the
/// controller has written down its own.
pub fn voiding<'a>(
    service: &'a Service,
    old: Option<&'a Service>,
    voided: Voided,
    by: &'a str,
) -> impl Iterator<Item = Voiding<'a>> {
    VOIDS.iter().filter_map(move |row| {
        let found = service
            .annotation(row.key)
            .filter(|_| row.by == by && row.voids.includes(voided))?;
        let counts = match row.cause {
            AdoptsOrOwns => names_existing(service, old, row.key, found),
            BesideField => !service.spec.load_balancer_source_ranges.is_empty(),
            _ => true,
        };
        (counts && row.reads.read(found) != Reading::No).then_some(Voiding { row, found })
    })
}

/// Returns true if an ID was there before the controller could write it: from the beginning, or in
/// place of another one.
fn names_existing(service: &Service, old: Option<&Service>, key: &str, found: &str) -> bool {
    match old {
        None => service.status.load_balancer_ingress.is_empty(),
        Some(old) if old.service_type() != ServiceType::LoadBalancer => true,
        Some(old) => old.annotation(key).is_some_and(|before| before != found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sallyport_policy::testing::{cluster_ip, labels, load_balancer};

    const ID: &str = "kubernetes.digitalocean.com/load-balancer-id";

    fn with(annotations: &[(&str, &str)]) -> Service {
        let mut service = load_balancer("w", 80);
        service.metadata.annotations = annotations
            .iter()
            .map(|&(k, v)| (k.to_owned(), v.to_owned()))
            .collect();
        service
    }

    #[test]
    fn an_id_that_the_controller_has_written_adopts_nothing() {
        let adopts = |service: &Service, old: Option<&Service>| {
            voiding(service, old, Voided::Internal, "digitalocean").count() == 1
        };
        let (before, after) = (with(&[]), with(&[(ID, "a")]));
        assert!(adopts(&after, None));
        assert!(!adopts(&after, Some(&before)));
        assert!(!adopts(&after, Some(&after)));
        assert!(adopts(&with(&[(ID, "b")]), Some(&after)));
        assert!(adopts(&after, Some(&cluster_ip("w"))));
    }

    #[test]
    fn a_value_without_the_effect_voids_nothing() {
        let count = |annotations: &[(&str, &str)], voided, by| {
            voiding(&with(annotations), None, voided, by).count()
        };
        let pls = "service.beta.kubernetes.io/azure-pls-create";
        assert_eq!(count(&[(pls, "TRUE")], Voided::Internal, "azure"), 1);
        assert_eq!(count(&[(pls, "false")], Voided::Internal, "azure"), 0);
        assert_eq!(count(&[(pls, "true")], Voided::Internal, "gce"), 0);
        let managed = "service.beta.kubernetes.io/scw-loadbalancer-externally-managed";
        assert_eq!(count(&[(managed, "1")], Voided::Internal, "scaleway"), 1);
        assert_eq!(count(&[(managed, "1")], Voided::Ranges, "scaleway"), 0);
        assert_eq!(
            count(
                &[("service.cilium.io/src-ranges-policy", "Deny")],
                Voided::Ranges,
                "cilium"
            ),
            1
        );
        assert_eq!(
            count(
                &[("service.cilium.io/src-ranges-policy", "allow")],
                Voided::Ranges,
                "cilium"
            ),
            0
        );
    }

    #[test]
    fn labels_are_no_annotations() {
        let mut service = load_balancer("w", 80);
        service.metadata.labels = labels([("service.cilium.io/src-ranges-policy", "deny")]);
        assert_eq!(voiding(&service, None, Voided::Ranges, "cilium").count(), 0);
    }
}
