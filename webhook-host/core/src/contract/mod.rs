//! The contract `sallyport:policy` as Rust types, one module for each interface of
//! `policy-wasm/wit`.
//!
//! Role: these values are built once per review and passed to every policy. With the feature
//! `wasmtime` they carry wasmtime's conversions, so that a component reads them directly; without
//! it they are plain data. Invariant: names, order and types are those of the WIT files, which
//! carry the documentation. wasmtime compares them with a component's own types when it loads it,
//! and the shipped policies are built from the WIT files, so that tests fail if the two differ.
//!
//! A released record never changes: a new minor version gets a module of its own beside this one.

#![expect(
    missing_docs,
    reason = "the WIT files carry the documentation of every field and case"
)]

pub mod description;
pub mod log;
pub mod review;
pub mod service;
pub mod verdict;

/// The version of `sallyport:policy` that this host speaks.
pub const VERSION: &str = "0.2.0";

/// The namespace and name of the contract's package.
pub const PACKAGE: &str = "sallyport:policy";

/// The contract's WIT, as policy authors read it: file name and text.
pub const WIT: [(&str, &str); 7] = [
    (
        "world.wit",
        include_str!("../../../../policy-wasm/wit/world.wit"),
    ),
    (
        "policy.wit",
        include_str!("../../../../policy-wasm/wit/policy.wit"),
    ),
    (
        "description.wit",
        include_str!("../../../../policy-wasm/wit/description.wit"),
    ),
    (
        "review.wit",
        include_str!("../../../../policy-wasm/wit/review.wit"),
    ),
    (
        "service.wit",
        include_str!("../../../../policy-wasm/wit/service.wit"),
    ),
    (
        "verdict.wit",
        include_str!("../../../../policy-wasm/wit/verdict.wit"),
    ),
    (
        "log.wit",
        include_str!("../../../../policy-wasm/wit/log.wit"),
    ),
];
