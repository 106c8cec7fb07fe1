//! Facts about clouds, controllers, ports and products, for Sallyport policies: tables, each row
//! with its source, and the functions that read them.
//!
//! The shipped policies decide by these tables, `sallyport explain` shows what they say of a
//! Service, and `docs/rules.md` prints them. They stand nowhere else. A policy that needs none of
//! them depends on `sallyport-policy` alone.
//!
//! A change of a row needs a source: the controller's code where it can be read, otherwise its
//! documentation. "From memory" marks rows that nobody has checked yet. Texts for people (sources,
//! remarks) are left out when the target is WebAssembly, so that components don't carry them.

pub mod addresses;
pub mod aliases;
pub mod backends;
pub mod classes;
mod controller;
mod controllers;
pub mod exports;
pub mod exposing;
pub mod forwarding;
pub mod internal;
pub mod keys;
pub mod kinds;
pub mod metadata_services;
pub mod nodes;
pub mod pools;
pub mod port_names;
#[cfg(not(target_family = "wasm"))]
pub mod questions;
pub mod ranges;
pub mod reach;
pub mod reads;
pub mod sharing;
pub mod voids;

pub use internal::Controller;
