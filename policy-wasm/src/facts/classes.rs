//! Values of `spec.loadBalancerClass` and who serves them. Compared exactly, as controllers do.

/// A class.
#[derive(Debug, Clone, Copy)]
pub struct Class {
    /// The class.
    pub name: &'static str,
    /// What a load balancer of this class is, whatever the annotations say.
    pub reach: Reach,
    /// Who serves it, and where that is known from.
    #[cfg(not(target_family = "wasm"))]
    pub served_by: &'static str,
}

/// From where a class's load balancers can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// From inside the cloud's network only.
    Internal,
    /// From anywhere.
    External,
    /// Annotations or the network around it decide.
    Depends,
}

#[cfg_attr(target_family = "wasm", expect(unused_variables, reason = "who serves it is for people"))]
const fn class(name: &'static str, reach: Reach, served_by: &'static str) -> Class {
    Class {
        name,
        reach,
        #[cfg(not(target_family = "wasm"))]
        served_by,
    }
}

/// The classes that are known.
pub static CLASSES: [Class; 13] = [
    class(
        "service.k8s.aws/nlb",
        Reach::Depends,
        "AWS Load Balancer Controller, whose webhook sets it on new LoadBalancers without a class",
    ),
    class("eks.amazonaws.com/nlb", Reach::Depends, "EKS Auto Mode"),
    class("networking.gke.io/l4-regional-internal", Reach::Internal, "GKE 1.33 and later; kubernetes/ingress-gce"),
    class(
        "networking.gke.io/l4-regional-internal-legacy",
        Reach::Internal,
        "GKE 1.33 and later; kubernetes/ingress-gce",
    ),
    class("networking.gke.io/l4-regional-external", Reach::External, "GKE 1.33 and later; kubernetes/ingress-gce"),
    class(
        "networking.gke.io/l4-regional-external-legacy",
        Reach::External,
        "GKE 1.33 and later; kubernetes/ingress-gce",
    ),
    class("alibabacloud.com/nlb", Reach::Depends, "Alibaba's cloud controller manager"),
    class("tailscale", Reach::Depends, "Tailscale's operator: inside the tailnet, or public by tailscale.com/funnel"),
    class("io.cilium/l2-announcer", Reach::Depends, "Cilium, L2 announcements"),
    class("io.cilium/bgp-control-plane", Reach::Depends, "Cilium, BGP control plane"),
    class("io.cilium/node", Reach::Depends, "Cilium, Node IPAM"),
    class("purelb.io/purelb", Reach::Depends, "PureLB"),
    class("kube-vip.io/kube-vip-class", Reach::Depends, "kube-vip, which serves LoadBalancers without a class, too"),
];

/// What is known of a class.
pub fn reach(class: &str) -> Option<Reach> {
    CLASSES.iter().find(|row| row.name == class).map(|row| row.reach)
}
