//! How Sallyport judges Services: everything but running WebAssembly and talking to the outside.
//!
//! No tokio, no kube, no wasmtime, no clock, no file and no network: callers pass in what these
//! tell. So it also compiles for `wasm32-unknown-unknown`.

pub mod admission;
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
pub mod service;
pub mod settings;
pub mod suite;
pub mod units;
pub mod yaml;
