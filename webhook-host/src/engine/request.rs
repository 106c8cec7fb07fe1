//! The input of a load.

use sallyport_core::component::PolicyComponent;
use serde_json::Map;
use std::sync::Arc;

/// A request to load a component with its settings.
pub(crate) struct LoadRequest<'a> {
    pub(crate) component: &'a PolicyComponent<'a>,
    /// The policy's name, for the log.
    pub(crate) name: &'a Arc<str>,
    /// The memory limit, in bytes.
    pub(crate) memory: usize,
    /// The manifest's settings, before they are merged over the defaults.
    pub(crate) settings: &'a Map<String, serde_json::Value>,
}
