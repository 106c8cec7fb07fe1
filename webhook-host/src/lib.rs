//! Sallyport decides how Kubernetes Services may be exposed: a TLS webhook host and an offline
//! harness for WebAssembly policies.
//!
//! [`admission`] is the one evaluation path; [`server`] asks it over TLS, `cli` on files. A
//! [`policy`] is a component that [`engine`] runs on a fresh instance for every review; what it may
//! know beside the Service is in the [`inventory`], which [`cluster`] keeps up to date. What users
//! write is read by [`manifest`], with errors by [`decode`]. Reviews that were answered are kept as
//! [`record`]s where that is wanted, and asked again by [`replay`]. How an API server comes to ask
//! is in [`registration`], and kept so by a [`registrar`]; [`doctor`] looks at that and at what
//! others registered.

pub use sallyport_core::{contract, decode, excerpt, printable, service, units, yaml};

pub mod admission;
pub mod certificates;
pub mod cli;
pub mod cluster;
mod contest;
pub mod doctor;
pub mod engine;
pub mod inventory;
pub mod manifest;
pub mod policy;
mod pulse;
pub mod record;
pub mod registrar;
pub mod registration;
pub mod replay;
pub mod report;
pub mod server;
pub mod suite;
pub mod write_gate;
