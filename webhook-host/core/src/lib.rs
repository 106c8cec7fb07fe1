//! The part of Sallyport that judges Services, without running WebAssembly and without I/O.
//!
//! [`admission`] is the one evaluation path, from an AdmissionRequest to its answer; [`suite`] and
//! [`check`] take it on files. It asks each [`policy`] by way of [`policy::Evaluate`], the one seam
//! to what runs components, and knows of the cluster what the [`inventory`] holds. What users write
//! is read by [`manifest`] and [`settings`], with errors by [`decode`].
//!
//! Invariant: no tokio, kube or wasmtime (but for the feature `wasmtime`, which adds conversions),
//! no clock, no file and no network. Callers pass in the time and all input, so that this crate
//! also compiles for `wasm32-unknown-unknown`; `scripts/check-core.sh` makes sure of it.

pub mod admission;
pub mod api_server;
pub mod check;
pub mod component;
pub mod contract;
pub mod decode;
pub mod excerpt;
pub mod inventory;
pub mod manifest;
pub mod policy;
pub mod printable;
pub mod report;
mod schema;
pub mod service;
pub mod settings;
pub mod suite;
pub mod units;
pub mod yaml;
