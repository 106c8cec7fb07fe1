//! skeleton
use crate::engine::Engine;
use crate::manifest::{Limits, ServicePolicy};
use std::sync::Arc;

/// One policy.
#[derive(Debug)]
pub struct Policy {
    name: Arc<str>,
    manifest: ServicePolicy,
    error: Option<LoadError>,
}

/// Why a policy can't be used. Display says what, where, and what to do.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct LoadError(pub String);

/// Why there's no opinion.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// x
    #[error("deadline")]
    Deadline,
}

impl EvaluationError {
    /// Stable label for metrics: deadline, memory, trap, answer, load
    pub fn kind(&self) -> &'static str {
        "deadline"
    }
}

impl Policy {
    /// Loads a component with its manifest: refused imports, contract version, settings, pre-initialisation.
    pub fn load(_engine: &Engine, manifest: ServicePolicy, _component: &[u8]) -> Result<Self, LoadError> {
        Err(LoadError(manifest.kind))
    }
    /// A policy that can't be loaded: evaluation errors under its failurePolicy.
    pub fn broken(manifest: ServicePolicy, error: LoadError) -> Self {
        Self { name: manifest.metadata.name.as_str().into(), manifest, error: Some(error) }
    }
    /// metadata.name
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }
    /// The manifest
    pub fn manifest(&self) -> &ServicePolicy {
        &self.manifest
    }
    /// Why it is broken
    pub fn load_error(&self) -> Option<&LoadError> {
        self.error.as_ref()
    }
    /// x
    pub fn limits(&self) -> Limits {
        self.manifest.spec.limits
    }
}
