//! Provider IDs of Nodes, as the cluster's profile carries them.

use crate::review::ProviderId;

impl ProviderId {
    /// Returns the text of the ID that the host keeps: the scheme, or what precedes the first dot.
    /// `None` for Nodes without an ID.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Scheme(text) | Self::Bare(text) => Some(text),
            Self::Missing => None,
        }
    }
}
