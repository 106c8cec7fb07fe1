//! A door of a Service: what opens it, how far, and who wrote that.

use super::written::Written;
use serde::{Deserialize, Serialize};

/// One way to or through a Service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Door {
    /// What opens it.
    pub kind: DoorKind,
    /// How far it opens.
    pub opens: Opens,
    /// The ports behind it, such as `TCP 443`; none for an alias.
    pub ports: Vec<String>,
    /// The address at which clients find it, as far as the Service shows it.
    pub address: String,
    /// Why it opens so far.
    pub reason: String,
    /// The field that opens it, as a path from the Service's root.
    pub field: String,
    /// True if the API server chose the port, and no client.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allocated: bool,
    /// The last writer of the field, or of `spec.type` where the port is allocated; `None` where
    /// managedFields don't tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_by: Option<Written>,
}

/// What opens a door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DoorKind {
    /// A load balancer of some controller.
    LoadBalancer,
    /// An annotation or label by which a controller exposes or exports the Service.
    Exported,
    /// An address that nodes accept traffic for.
    ExternalIp,
    /// A port on the nodes.
    NodePort,
    /// An annotation by which others share the load balancer's address.
    Shared,
    /// A DNS alias.
    Alias,
}

/// How far a door opens, the widest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Opens {
    /// To anyone: a load balancer that is certainly public.
    Public,
    /// Perhaps to anyone: a load balancer that is not certainly internal.
    PerhapsPublic,
    /// To what a controller connects: other clusters, a gateway, a private network.
    Exported,
    /// To whoever routes the address to a node.
    ExternalIp,
    /// To whoever reaches a node.
    Nodes,
    /// To the network around the cluster: a load balancer that is certainly internal.
    Internal,
    /// To other Services: they may take ports of its address.
    Shared,
    /// From inside to a name elsewhere.
    Alias,
}

impl Opens {
    /// Returns the words of a table.
    pub fn text(self) -> &'static str {
        match self {
            Self::Public => "anyone",
            Self::PerhapsPublic => "perhaps anyone",
            Self::Exported => "exported",
            Self::ExternalIp => "external IP",
            Self::Nodes => "nodes",
            Self::Internal => "internal",
            Self::Shared => "shared",
            Self::Alias => "alias",
        }
    }
}

impl DoorKind {
    /// Returns the words of a table.
    pub fn text(self) -> &'static str {
        match self {
            Self::LoadBalancer => "load balancer",
            Self::Exported => "annotation",
            Self::ExternalIp => "external IP",
            Self::NodePort => "node port",
            Self::Shared => "shared address",
            Self::Alias => "alias",
        }
    }
}

impl Door {
    /// The address of a load balancer that has none.
    pub const PENDING: &str = "not given yet";

    /// Names the door among those of its Service: by what opens it, and not by how far that opens.
    pub fn identity(&self) -> String {
        let what = match self.kind {
            DoorKind::LoadBalancer => "",
            DoorKind::NodePort => {
                let protocol = self.ports.first().and_then(|port| port.split(' ').next());
                let number = self.address.rsplit(':').next();
                let (protocol, number) = (protocol.unwrap_or_default(), number.unwrap_or_default());
                return format!("{:?} {protocol} {number}", self.kind);
            }
            DoorKind::ExternalIp => &self.address,
            DoorKind::Exported | DoorKind::Shared | DoorKind::Alias => &self.field,
        };
        format!("{:?} {what}", self.kind)
    }
}
