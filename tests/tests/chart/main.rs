//! The Helm chart, by a real Helm: renders, refusals, the comparison with kustomize, and releases
//! on
//! a real API server.
//!
//! `make chart` gets Helm and runs these tests. Without it they are ignored, because few machines
//! have Helm. The tests in `cluster` also need an API server of 1.30 or newer.

mod cluster;
mod helm;
mod kustomize;
mod monitoring;
mod policies;
mod refusals;
mod renders;
