//! What is to be loaded.

use crate::component::PolicyComponent;
use serde_json::Map;
use std::sync::Arc;

/// A component that is to be loaded.
pub(crate) struct Order<'a> {
    pub(crate) component: &'a PolicyComponent<'a>,
    /// The policy's name, for the log.
    pub(crate) name: &'a Arc<str>,
    /// The memory limit, in bytes.
    pub(crate) memory: usize,
    /// The settings as the manifest has them.
    pub(crate) written: &'a Map<String, serde_json::Value>,
}
