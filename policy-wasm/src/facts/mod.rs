//! What the policies know about clouds, controllers, ports and products: data, each row with its
//! source.
//!
//! These tables are the one place for such facts. The shipped policies decide by them, and
//! `docs/rules.md` prints them. What is for people only (the source, a remark) is no part of a
//! component: it is compiled for other targets only.
//!
//! Rows are facts, so that a change needs its source: the controller's code where it can be read,
//! its documentation otherwise. "From memory" marks what nobody has checked yet.

pub mod addresses;
pub mod backends;
pub mod classes;
mod controllers;
pub mod exports;
pub mod exposing;
pub mod forwarding;
pub mod internal;
pub mod keys;
pub mod metadata_services;
pub mod nodes;
pub mod port_names;
#[cfg(not(target_family = "wasm"))]
pub mod questions;
pub mod reach;
pub mod reads;
pub mod voids;

pub use internal::Controller;
