//! The interface `verdict`: a policy's answer.

use super::service::{Json, Pair};
#[cfg(feature = "wasmtime")]
use wasmtime::component::{ComponentType, Lift, Lower};

#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "wasmtime",
    derive(ComponentType, Lift, Lower),
    component(record)
)]
pub struct Verdict {
    pub violations: Vec<Violation>,
    pub warnings: Vec<String>,
    #[cfg_attr(feature = "wasmtime", component(name = "audit-annotations"))]
    pub audit_annotations: Vec<Pair>,
    pub patch: Vec<PatchOperation>,
}

#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "wasmtime",
    derive(ComponentType, Lift, Lower),
    component(record)
)]
pub struct Violation {
    pub rule: String,
    pub key: String,
    pub field: String,
    pub message: String,
    pub fix: String,
}

#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "wasmtime",
    derive(ComponentType, Lift, Lower),
    component(variant)
)]
pub enum PatchOperation {
    #[cfg_attr(feature = "wasmtime", component(name = "add"))]
    Add(PatchValue),
    #[cfg_attr(feature = "wasmtime", component(name = "replace"))]
    Replace(PatchValue),
    #[cfg_attr(feature = "wasmtime", component(name = "remove"))]
    Remove(String),
}

#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "wasmtime",
    derive(ComponentType, Lift, Lower),
    component(record)
)]
pub struct PatchValue {
    pub path: String,
    pub value: Json,
}

#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "wasmtime",
    derive(ComponentType, Lift, Lower),
    component(record)
)]
pub struct SettingsError {
    pub path: String,
    pub message: String,
}
