//! Sallyport decides how Kubernetes Services may be exposed: a TLS webhook host and an offline
//! harness for WebAssembly policies.
//!
//! `sallyport_core` decides: it holds everything between an AdmissionRequest and its answer, and
//! compiles without the dependencies of this crate. [`evaluator`] runs its policies with
//! [`engine`], on a fresh instance for every review; [`cluster`] keeps its inventory up to date
//! through [`watchers`]. [`sources`] load policies and configuration, and [`live`] holds the set
//! that serves. [`server`] reviews requests over TLS, [`replay`] recorded ones, and [`mod@bench`]
//! measures their cost. [`webhooks`] configure API servers to call the host, [`certificates`] make
//! them trust it, and [`doctor`] and [`lint`] report mistakes in configurations and manifests.
//! `registry` pulls components from OCI registries, and `signature` verifies them. [`import`] makes
//! manifests of Kubernetes' own policies. `docs/architecture.md` shows the way of a review through
//! all of them.

#![cfg_attr(
    not(unix),
    expect(dead_code, reason = "only `serve` uses it, which is not built there")
)]

pub mod audit;
pub mod audit_reports;
mod authorities;
pub mod bench;
pub mod certificates;
pub mod cli;
pub mod cluster;
pub mod console;
pub mod doctor;
pub mod engine;
pub mod evaluator;
pub mod events;
pub mod exposure;
pub mod import;
mod kube_error;
mod large_body;
mod lease;
pub mod lint;
pub mod live;
pub mod manifests;
pub mod metrics;
pub mod observers;
mod pulse;
pub mod record;
mod registry;
pub mod replay;
pub mod report;
pub mod server;
pub mod shipped;
mod signature;
pub mod sources;
pub mod status;
pub mod suites;
pub mod telemetry;
mod timestamp;
pub mod tls;
mod trace_context;
pub mod watchers;
pub mod webhooks;
pub mod write_gate;
