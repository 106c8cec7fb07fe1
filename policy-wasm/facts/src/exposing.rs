//! Annotations by which some controller exposes a Service that is no LoadBalancer.

use sallyport_policy::glob;

/// An annotation with the values that expose.
#[derive(Debug, Clone, Copy)]
pub struct Exposing {
    /// The annotation.
    pub key: &'static str,
    /// Patterns of [`sallyport_policy::glob`]; empty: any value.
    pub values: &'static [&'static str],
    /// Annotations with one of which, at exactly this value, it exposes nothing.
    pub unless: &'static [(&'static str, &'static str)],
    /// Its effect, and the source.
    #[cfg(not(target_family = "wasm"))]
    pub source: &'static str,
}

impl Exposing {
    /// Returns true if an annotation with this value exposes a Service. Compares without regard to
    /// case, because the match restricts.
    pub fn exposes(&self, key: &str, value: &str) -> bool {
        self.key.eq_ignore_ascii_case(key)
            && (self.values.is_empty()
                || self
                    .values
                    .iter()
                    .any(|wanted| glob::matches(wanted, value)))
    }
}

#[cfg_attr(
    target_family = "wasm",
    expect(unused_variables, reason = "the source is for people")
)]
pub(super) const fn row(
    key: &'static str,
    values: &'static [&'static str],
    source: &'static str,
) -> Exposing {
    Exposing {
        key,
        values,
        unless: &[],
        #[cfg(not(target_family = "wasm"))]
        source,
    }
}

/// With either of these, a global Service of Cilium's takes endpoints from other clusters and gives
/// none away.
const NOT_SHARED: [(&str, &str); 2] = [
    ("service.cilium.io/shared", "false"),
    ("io.cilium/shared-service", "false"),
];

/// The annotations that are known.
pub static EXPOSING: [Exposing; 12] = [
    row(
        "service.beta.kubernetes.io/aws-load-balancer-type",
        &["external", "nlb-ip"],
        "the AWS Load Balancer Controller makes a network load balancer of any type of Service, \
         unless its gate \
            ServiceTypeLoadBalancerOnly is on; kubernetes-sigs/aws-load-balancer-controller \
            pkg/service/service_utils.go",
    ),
    // A backslash: JSON can spell the name in other ways.
    row(
        "cloud.google.com/neg",
        &["*exposed_ports*", "*\\*"],
        "GKE makes standalone network endpoint groups, to which a load balancer can lead; public \
         manifests",
    ),
    row(
        "tailscale.com/expose",
        &["true"],
        "Tailscale's operator exposes it in the tailnet; tailscale/tailscale \
         cmd/k8s-operator/sts.go. tailscale.com/funnel is \
            read on an Ingress only",
    ),
    row(
        "kube-vip.io/forwardUPNP",
        &["true"],
        "kube-vip forwards its ports on the router in front of the cluster, by UPnP; \
         kube-vip/kube-vip pkg/services",
    ),
    Exposing {
        unless: &NOT_SHARED,
        ..row(
            "service.cilium.io/global",
            &["true"],
            "Cilium shares it with every cluster of a cluster mesh; cilium/cilium \
             pkg/annotation/k8s.go",
        )
    },
    Exposing {
        unless: &NOT_SHARED,
        ..row(
            "io.cilium/global-service",
            &["true"],
            "the same, by its older name",
        )
    },
    row(
        "service.cilium.io/shared",
        &["true"],
        "Cilium before 1.12 shares it without the annotation above, too; the same file",
    ),
    row(
        "io.cilium/shared-service",
        &["true"],
        "the same, by its older name",
    ),
    row(
        "kube-service-exposer.sidero.dev/port",
        &[],
        "Sidero's kube-service-exposer opens a port on the Nodes; its README",
    ),
    row(
        "skupper.io/proxy",
        &[],
        "Skupper (1.x) exposes it in its network, which other clusters are part of; its \
         documentation",
    ),
    row(
        "consul.hashicorp.com/service-sync",
        &["true", "1", "t"],
        "Consul's catalog sync registers it for every client of the Consul cluster; \
         hashicorp/consul-k8s \
            control-plane/catalog/to-consul",
    ),
    row(
        "getambassador.io/config",
        &[],
        "Emissary-ingress (Ambassador) routes to it; public manifests",
    ),
];
