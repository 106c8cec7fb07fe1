//! What an API server does with a Service by itself, before it asks a webhook: it fills in
//! defaults, refuses unknown fields and values of a wrong form.
//!
//! Role: `check` and `suite` report what a cluster would refuse whatever the policies say. Objects
//! are JSON where they may be malformed, else Kubernetes' own types. Only refusals of every
//! supported version of Kubernetes are found, in words of our own and in those of Kubernetes 1.36.

pub mod defaults;
mod fields;
mod names;
mod validation;
pub(crate) mod words;

pub(crate) use fields::unknown;
pub(crate) use validation::Refusals;

/// The types of Services.
const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];

/// A field that the API server refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// JSON path from the Service's root.
    pub(crate) field: String,
    /// The value found and what is allowed.
    pub(crate) problem: String,
    /// The fix; may be empty.
    pub(crate) fix: String,
    /// The API server's words, where they are known.
    pub(crate) words: Option<String>,
    /// The path that the API server names, where it is another.
    pub(crate) at: Option<String>,
}
