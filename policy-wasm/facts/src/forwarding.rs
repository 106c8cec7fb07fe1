//! Annotations by which a controller leads a Service's traffic to other Services than its selector
//! does.

/// An annotation whose value names what is led to.
#[derive(Debug, Clone, Copy)]
pub struct Forwarding {
    /// The annotation, as a pattern of [`sallyport_policy::glob`].
    pub key: &'static str,
    /// Its effect, and the source.
    #[cfg(not(target_family = "wasm"))]
    pub source: &'static str,
}

#[cfg_attr(
    target_family = "wasm",
    expect(unused_variables, reason = "the source is for people")
)]
const fn row(key: &'static str, source: &'static str) -> Forwarding {
    Forwarding {
        key,
        #[cfg(not(target_family = "wasm"))]
        source,
    }
}

/// The annotations that are known. Alibaba's `vgroup-port` and Cilium's `lb-l7` lead nowhere else:
/// they choose a server group for the Service's own Pods, and a proxy in front of them.
pub static FORWARDING: [Forwarding; 5] = [
    row(
        "service.beta.kubernetes.io/actions.*",
        "the AWS Load Balancer Controller forwards a listener (actions.TCP-80) to target groups of \
         other Services of the \
            namespace; kubernetes-sigs/aws-load-balancer-controller pkg/service",
    ),
    row(
        "service.kubernetes.io/actions.*",
        "the same: the controller reads both prefixes; pkg/annotations/constants.go",
    ),
    row(
        "federation.tigera.io/serviceSelector",
        "Calico Enterprise gives a Service without a selector the endpoints of the Services that \
         the value selects, in this \
            and other clusters; docs.tigera.io, federated services",
    ),
    row(
        "getambassador.io/config",
        "Emissary-ingress (Ambassador) routes to the Services that Mapping and TCPMapping in it \
         name; \
            emissary-ingress/emissary documentation",
    ),
    row(
        "skupper.io/target",
        "Skupper (1.x) leads to this Service in place of the annotated one; skupperproject/skupper \
         api/types",
    ),
];
