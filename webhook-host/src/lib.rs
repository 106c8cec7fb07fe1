//! Sallyport decides how Kubernetes Services may be exposed: a TLS webhook host and an offline
//! harness for WebAssembly policies.
//!
//! [`admission`] is the one evaluation path: [`server`] calls it over TLS, [`check`] and [`suite`]
//! on files, [`replay`] on recorded reviews. A [`policy`] is a component that [`engine`] runs on a
//! fresh instance for every review; facts about the cluster come from the [`inventory`], which
//! [`cluster`] keeps up to date. [`sources`] load policies and configuration, [`live`] holds the
//! set that serves. [`webhooks`] make API servers ask, [`certificates`] make them trust the answer,
//! and [`doctor`] and [`lint`] find what is wrong before it hurts. `docs/architecture.md` shows the
//! way of a review through all of them.

pub mod admission;
pub mod certificates;
pub mod check;
pub mod cli;
pub mod cluster;
pub mod contract;
pub mod decode;
pub mod doctor;
pub mod engine;
mod excerpt;
pub mod inventory;
mod kube_error;
mod large_body;
pub mod lint;
pub mod live;
pub mod manifest;
pub mod metrics;
pub mod observers;
pub mod policy;
pub mod printable;
mod pulse;
pub mod record;
pub mod replay;
pub mod report;
pub mod server;
pub mod service;
pub mod sources;
pub mod status;
pub mod suite;
mod timestamp;
pub mod tls;
pub mod units;
pub mod webhooks;
pub mod write_gate;
pub mod yaml;
