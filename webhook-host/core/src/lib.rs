//! The part of Sallyport that judges Services, without running WebAssembly and without I/O.
//!
//! [`admission`] is the one evaluation path, from an AdmissionRequest to its answer; [`suite`] and
//! [`check`] use it for files. It asks each [`policy`] through [`policy::Evaluate`], the one seam
//! to the runtime of components, and takes its facts about the cluster from the [`inventory`].
//! [`manifest`] and [`settings`] read what users write, and [`decode`] makes their errors.
//!
//! Invariant: no tokio, kube or wasmtime (except that the feature `wasmtime` adds conversions), no
//! clock, no file and no network. Callers pass in the time and all input, so that this crate also
//! compiles for `wasm32-unknown-unknown`, which `scripts/check-core.sh` checks.

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
