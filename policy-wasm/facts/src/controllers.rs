//! The controllers that make load balancers of Services: one row each, with the facts by which the
//! policies decide.
//!
//! A controller without a switch makes public load balancers only. [`super::voids`] lists the
//! annotations that void a switch or source ranges.

use super::classes::{Reach, class};
use super::controller::{
    Controller, Default, Enforces, Precedence, SOURCE_RANGES, Switch, Variant, When,
};
use super::reads::Reads;

#[cfg_attr(
    target_family = "wasm",
    expect(unused_variables, reason = "the source is for people")
)]
const fn switch(
    key: &'static str,
    reads: Reads,
    set: Option<&'static str>,
    source: &'static str,
) -> Switch {
    Switch {
        key,
        reads,
        set,
        #[cfg(not(target_family = "wasm"))]
        source,
    }
}

#[cfg_attr(
    target_family = "wasm",
    expect(unused_variables, reason = "the title is for people")
)]
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
        contradicting: &[],
        default: Default::Public,
        variant: None,
        enforces: Enforces::Depends,
        ranges: &[],
        #[cfg(not(target_family = "wasm"))]
        title,
    }
}

const AWS_SCHEME: Switch = switch(
    "service.beta.kubernetes.io/aws-load-balancer-scheme",
    Reads::Either(&["internal"], &["internet-facing"]),
    Some("internal"),
    "kubernetes-sigs/aws-load-balancer-controller pkg/service/model_build_load_balancer.go; \
     without it the load balancer's own scheme or --default-load-balancer-scheme holds, which \
     no Service shows",
);

const OCI_LOAD_BALANCER: Switch = switch(
    "service.beta.kubernetes.io/oci-load-balancer-internal",
    Reads::ParseBool,
    Some("true"),
    "oracle/oci-cloud-controller-manager pkg/cloudprovider/providers/oci/load_balancer_spec.go",
);

const OCI_NETWORK_LOAD_BALANCER: Switch = switch(
    "oci-network-load-balancer.oraclecloud.com/internal",
    Reads::ParseBool,
    Some("true"),
    "the same file: a network load balancer reads its own key and not the other's; the type in any \
     case",
);

/// Every controller whose switch is known. AWS has two: who serves a Service there depends on the
/// Service ([`super::internal::on`]).
pub static CONTROLLERS: [Controller; 24] = [
    Controller {
        classes: &[
            class(
                "service.k8s.aws/nlb",
                Reach::Depends,
                "AWS Load Balancer Controller, whose webhook sets it on new LoadBalancers without \
                 a class",
            ),
            class("eks.amazonaws.com/nlb", Reach::Depends, "EKS Auto Mode"),
        ],
        default: Default::Unknown,
        enforces: Enforces::Yes,
        ranges: &[SOURCE_RANGES],
        ..controller(
            "aws-lbc",
            "AWS Load Balancer Controller, EKS Auto Mode",
            "aws",
            &[
                AWS_SCHEME,
                switch(
                    "service.beta.kubernetes.io/aws-load-balancer-internal",
                    Reads::ParseBool,
                    None,
                    "the same file: legacy, and not read beside the scheme",
                ),
            ],
        )
    },
    Controller {
        enforces: Enforces::Yes,
        ranges: &[SOURCE_RANGES],
        contradicting: &[AWS_SCHEME],
        ..controller(
            "aws-ccm",
            "AWS cloud provider, in-tree or cloud-provider-aws",
            "aws",
            &[switch(
                "service.beta.kubernetes.io/aws-load-balancer-internal",
                Reads::Not(&["", "false"]),
                Some("true"),
                "kubernetes/cloud-provider-aws pkg/providers/v1/aws.go; the scheme is not read, \
                 and the default is public",
            )],
        )
    },
    Controller {
        enforces: Enforces::Yes,
        ranges: &[
            "service.beta.kubernetes.io/azure-allowed-ip-ranges",
            SOURCE_RANGES,
        ],
        ..controller(
            "azure",
            "Azure (AKS)",
            "azure",
            &[switch(
                "service.beta.kubernetes.io/azure-load-balancer-internal",
                Reads::Exactly(&["true"]),
                Some("true"),
                "kubernetes-sigs/cloud-provider-azure \
                 pkg/provider/azure_loadbalancer.go; \"True\" is public",
            )],
        )
    },
    Controller {
        precedence: Precedence::First,
        enforces: Enforces::EachFamily,
        ranges: &[SOURCE_RANGES],
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
                    "kubernetes/legacy-cloud-providers gce/gce_annotations.go; a class wins over \
                     it",
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
    Controller {
        default: Default::Unknown,
        enforces: Enforces::Depends,
        ranges: &[SOURCE_RANGES],
        ..controller(
            "openstack",
            "OpenStack (Octavia)",
            "openstack",
            &[switch(
                "service.beta.kubernetes.io/openstack-internal-load-balancer",
                Reads::Exactly(&["true"]),
                Some("true"),
                "kubernetes/cloud-provider-openstack pkg/openstack/loadbalancer.go",
            )],
        )
    },
    Controller {
        enforces: Enforces::Yes,
        ranges: &[SOURCE_RANGES],
        contradicting: &[OCI_NETWORK_LOAD_BALANCER],
        variant: Some(Variant {
            when: When::Annotation("oci.oraclecloud.com/load-balancer-type", "nlb"),
            switches: &[OCI_NETWORK_LOAD_BALANCER],
            contradicting: &[OCI_LOAD_BALANCER],
            enforces: Enforces::Where(&[
                (
                    "oci-network-load-balancer.oraclecloud.com/security-list-management-mode",
                    &["All", "Frontend"],
                ),
                (
                    "oci.oraclecloud.com/security-rule-management-mode",
                    &["SL-All", "SL-Frontend", "NSG"],
                ),
            ]),
        }),
        ..controller("oci", "Oracle Cloud", "oci", &[OCI_LOAD_BALANCER])
    },
    Controller {
        enforces: Enforces::Yes,
        ..controller(
            "digitalocean",
            "DigitalOcean",
            "digitalocean",
            &[switch(
                "service.beta.kubernetes.io/do-loadbalancer-network",
                Reads::Either(&["INTERNAL"], &["", "EXTERNAL"]),
                Some("INTERNAL"),
                "digitalocean/digitalocean-cloud-controller-manager \
                 cloud-controller-manager/do/loadbalancers.go getNetwork; other values are refused",
            )],
        )
    },
    Controller {
        default: Default::Unknown,
        enforces: Enforces::No,
        ..controller(
            "hcloud",
            "Hetzner Cloud",
            "hcloud",
            &[switch(
                "load-balancer.hetzner.cloud/disable-public-network",
                Reads::ParseBool,
                Some("true"),
                "hetznercloud/hcloud-cloud-controller-manager internal/annotation; use-private-ip \
                 is about targets only",
            )],
        )
    },
    Controller {
        enforces: Enforces::Depends,
        ranges: &[SOURCE_RANGES],
        ..controller(
            "ibm",
            "IBM Cloud",
            "ibm",
            &[switch(
                "service.kubernetes.io/ibm-load-balancer-cloud-provider-ip-type",
                Reads::Either(&["private"], &["", "public"]),
                Some("private"),
                "IBM-Cloud/cloud-provider-vpc-controller pkg/vpcctl/vpc_config.go isServicePublic; \
                 other values are not relied on",
            )],
        )
    },
    Controller {
        classes: &[class(
            "alibabacloud.com/nlb",
            Reach::Depends,
            "Alibaba's cloud controller manager",
        )],
        precedence: Precedence::First,
        enforces: Enforces::No,
        variant: Some(Variant {
            when: When::Class("alibabacloud.com/nlb"),
            switches: &[
                switch(
                    "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-address-type",
                    Reads::Folded("intranet"),
                    Some("intranet"),
                    "kubernetes/cloud-provider-alibaba-cloud pkg/model/nlb/nlb.go GetAddressType: \
                     in any case",
                ),
                switch(
                    "service.beta.kubernetes.io/alicloud-loadbalancer-address-type",
                    Reads::Folded("intranet"),
                    None,
                    "the older prefix, not read beside the newer one",
                ),
            ],
            contradicting: &[],
            enforces: Enforces::Yes,
        }),
        ..controller(
            "alibaba",
            "Alibaba Cloud",
            "alicloud",
            &[
                switch(
                    "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-address-type",
                    Reads::Exactly(&["intranet"]),
                    Some("intranet"),
                    "kubernetes/cloud-provider-alibaba-cloud \
                     pkg/controller/service/clbv1/loadbalancer.go; case-sensitive",
                ),
                switch(
                    "service.beta.kubernetes.io/alicloud-loadbalancer-address-type",
                    Reads::Exactly(&["intranet"]),
                    None,
                    "the older prefix, not read beside the newer one",
                ),
            ],
        )
    },
    Controller {
        enforces: Enforces::Depends,
        ranges: &[SOURCE_RANGES],
        ..controller(
            "tencent",
            "Tencent Cloud",
            "qcloud",
            &[switch(
                "service.kubernetes.io/qcloud-loadbalancer-internal-subnetid",
                Reads::PRESENCE,
                None,
                "tencentcloud.com/document/product/457/39142; the value is a subnet",
            )],
        )
    },
    Controller {
        enforces: Enforces::Depends,
        ranges: &[SOURCE_RANGES],
        ..controller(
            "baidu",
            "Baidu Cloud",
            "",
            &[switch(
                "service.beta.kubernetes.io/cce-load-balancer-internal-vpc",
                Reads::Exactly(&["true"]),
                Some("true"),
                "cloud.baidu.com/doc/CCE/s/zlako7b04",
            )],
        )
    },
    Controller {
        enforces: Enforces::No,
        ..controller(
            "huawei",
            "Huawei Cloud (CCE)",
            "",
            &[switch(
                "kubernetes.io/elb.autocreate",
                Reads::Inner,
                None,
                "support.huaweicloud.com/usermanual-cce cce_10_0385",
            )],
        )
    },
    Controller {
        enforces: Enforces::Yes,
        ..controller(
            "scaleway",
            "Scaleway",
            "scaleway",
            &[switch(
                "service.beta.kubernetes.io/scw-loadbalancer-private",
                Reads::ParseBool,
                Some("true"),
                "scaleway/scaleway-cloud-controller-manager scaleway/loadbalancers_annotations.go \
                 svcPrivate",
            )],
        )
    },
    Controller {
        enforces: Enforces::Depends,
        ranges: &[SOURCE_RANGES],
        ..controller(
            "yandex",
            "Yandex Cloud",
            "yandex",
            &[switch(
                "yandex.cloud/load-balancer-type",
                Reads::Exactly(&["internal"]),
                Some("internal"),
                "yandex.cloud/docs/network-load-balancer/k8s-ref/service",
            )],
        )
    },
    Controller {
        default: Default::Unknown,
        enforces: Enforces::Depends,
        ranges: &[SOURCE_RANGES],
        ..controller(
            "ctyun",
            "China Telecom Cloud",
            "",
            &[switch(
                "service.beta.kubernetes.io/ctyun-loadbalancer-address-type",
                Reads::Exactly(&["intranet"]),
                Some("intranet"),
                "esurfingcloud.com documentation; the default is intranet, too, which is not \
                 relied on",
            )],
        )
    },
    Controller {
        enforces: Enforces::Yes,
        ranges: &["yawol.stackit.cloud/loadBalancerSourceRanges"],
        ..controller(
            "stackit",
            "STACKIT",
            "stackit",
            &[
                switch(
                    "lb.stackit.cloud/internal-lb",
                    Reads::ParseBool,
                    Some("true"),
                    "stackitcloud/cloud-provider-stackit pkg/ccm/loadbalancer_spec.go \
                     lbSpecFromService",
                ),
                switch(
                    "yawol.stackit.cloud/internalLB",
                    Reads::ParseBool,
                    None,
                    "the same file: the older key; two that differ are refused",
                ),
            ],
        )
    },
    Controller {
        enforces: Enforces::No,
        ..controller(
            "linode",
            "Linode (Akamai)",
            "linode",
            &[switch(
                "service.beta.kubernetes.io/linode-loadbalancer-frontend-subnet-id",
                Reads::PRESENCE,
                None,
                "linode/linode-cloud-controller-manager cloud/linode/loadbalancers.go \
                 getFrontendVPCCreateOptions: a subnet of a \
                    VPC, read when the load balancer is created and never again",
            )],
        )
    },
    Controller {
        default: Default::Internal,
        enforces: Enforces::Yes,
        ..controller(
            "coreweave",
            "CoreWeave",
            "",
            &[switch(
                "service.beta.kubernetes.io/coreweave-load-balancer-type",
                Reads::Not(&["public"]),
                None,
                "docs.coreweave.com/products/networking/ingress-service/expose-service-dns; \
                 without it the address is private",
            )],
        )
    },
    controller(
        "ncloud",
        "NAVER Cloud",
        "",
        &[switch(
            "service.beta.kubernetes.io/ncloud-load-balancer-internal",
            Reads::Exactly(&["true"]),
            Some("true"),
            "guide.ncloud-docs.com/docs/en/nks-nks-1-8",
        )],
    ),
    Controller {
        enforces: Enforces::No,
        ..controller("vultr", "Vultr", "vultr", &[])
    },
    Controller {
        enforces: Enforces::No,
        ..controller("civo", "Civo", "civo", &[])
    },
    Controller {
        enforces: Enforces::No,
        ..controller("exoscale", "Exoscale", "exoscale", &[])
    },
    Controller {
        enforces: Enforces::No,
        ..controller("upcloud", "UpCloud", "upcloud", &[])
    },
];
