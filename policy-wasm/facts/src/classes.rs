//! Values of `spec.loadBalancerClass` and who serves them. Compared exactly, as controllers do.

/// A class.
#[derive(Debug, Clone, Copy)]
pub struct Class {
    /// The class.
    pub name: &'static str,
    /// The reach of its load balancers, whatever the annotations say.
    pub reach: Reach,
    /// The controller that serves it, and the source.
    #[cfg(not(target_family = "wasm"))]
    pub served_by: &'static str,
}

/// The place from which a class's load balancers can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The cloud's network only.
    Internal,
    /// Anywhere.
    External,
    /// Annotations or the network around it decide.
    Depends,
}

#[cfg_attr(
    target_family = "wasm",
    expect(unused_variables, reason = "who serves it is for people")
)]
pub(super) const fn class(name: &'static str, reach: Reach, served_by: &'static str) -> Class {
    Class {
        name,
        reach,
        #[cfg(not(target_family = "wasm"))]
        served_by,
    }
}

/// Classes of controllers that have no switch of their own among [`super::internal::CONTROLLERS`].
pub static OTHERS: [Class; 10] = [
    class(
        "tailscale",
        Reach::Depends,
        "Tailscale's operator: inside the tailnet; tailscale/tailscale cmd/k8s-operator/svc.go",
    ),
    class(
        "io.cilium/l2-announcer",
        Reach::Depends,
        "Cilium, L2 announcements",
    ),
    class(
        "io.cilium/bgp-control-plane",
        Reach::Depends,
        "Cilium, BGP control plane",
    ),
    class("io.cilium/node", Reach::Depends, "Cilium, Node IPAM"),
    class("purelb.io/purelb", Reach::Depends, "PureLB 1"),
    class(
        "purelb.io/purelbv2",
        Reach::Depends,
        "PureLB 2; purelb/purelb pkg/apis/purelb/v2/classes.go",
    ),
    class(
        "loxilb.io/loxilb",
        Reach::Depends,
        "kube-loxilb; loxilb-io/kube-loxilb cmd/loxilb-agent/options.go",
    ),
    class(
        "calico",
        Reach::Depends,
        "Calico; projectcalico/calico kube-controllers/pkg/controllers/loadbalancer",
    ),
    class(
        "networking.gke.io/standalone-passthrough-lb-neg",
        Reach::Depends,
        "GKE, where enabled: network endpoint groups for a load balancer of one's own; \
         kubernetes/ingress-gce \
            pkg/l4/annotations/gce_annotations.go",
    ),
    class(
        "kube-vip.io/kube-vip-class",
        Reach::Depends,
        "kube-vip, which serves LoadBalancers without a class, too",
    ),
];
