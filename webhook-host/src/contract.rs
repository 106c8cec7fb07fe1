//! The contract `sallyport:policy` as the host sees it: types generated from `policy-wasm/wit`,
//! nothing else.
//!
//! A released record never changes; a new minor version gets a module of its own beside this one,
//! and `policy` decides which one a component speaks.

#[expect(
    missing_docs,
    reason = "generated; the WIT files carry the documentation"
)]
mod bindings {
    wasmtime::component::bindgen!({
        path: "../policy-wasm/wit",
        world: "base",
        additional_derives: [PartialEq, Clone],
    });
}

pub use bindings::sallyport::policy::{description, log, review, service, verdict};

/// The version of `sallyport:policy` that this host speaks.
pub const VERSION: &str = "0.1.0";

/// The namespace and name of the contract's package.
pub const PACKAGE: &str = "sallyport:policy";

/// The contract's WIT, as policy authors read it: file name and text.
pub const WIT: [(&str, &str); 7] = [
    ("world.wit", include_str!("../../policy-wasm/wit/world.wit")),
    (
        "policy.wit",
        include_str!("../../policy-wasm/wit/policy.wit"),
    ),
    (
        "description.wit",
        include_str!("../../policy-wasm/wit/description.wit"),
    ),
    (
        "review.wit",
        include_str!("../../policy-wasm/wit/review.wit"),
    ),
    (
        "service.wit",
        include_str!("../../policy-wasm/wit/service.wit"),
    ),
    (
        "verdict.wit",
        include_str!("../../policy-wasm/wit/verdict.wit"),
    ),
    ("log.wit", include_str!("../../policy-wasm/wit/log.wit")),
];
