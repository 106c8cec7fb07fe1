//! Labels by which some controller exports a Service to other clusters. Annotations that do so are
//! in [`super::exposing`].

use super::exposing::{Exposing, row};

/// The labels that are known.
pub static EXPORTING_LABELS: [Exposing; 4] = [
    row(
        "mirror.linkerd.io/exported",
        &["true", "remote-discovery"],
        "Linkerd's multicluster extension mirrors it into linked clusters; linkerd/linkerd2 \
         multicluster, the default \
            selectors of a Link",
    ),
    row(
        "mirror.linkerd.io/federated",
        &["member"],
        "Linkerd's multicluster extension makes it part of a federated Service in linked clusters; \
         the same",
    ),
    row(
        "istio.io/global",
        &["true"],
        "Istio's ambient mode shares it with every cluster of the mesh; istio/istio, \
         serviceScopeConfigs of its ambient profile",
    ),
    row(
        "fabedge.io/global-service",
        &["true"],
        "FabEdge's FabDNS exports it to the other clusters; FabEdge/fab-dns pkg/exporter",
    ),
];
