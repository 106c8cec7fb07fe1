//! Reports: what the harness found, for people, for programs, for CI systems.
//!
//! Each format is one file and a pure function from findings to text; `cli` prints it.

pub mod diagnosis;
pub mod explanation;
pub mod live;
mod reach;
pub mod registration;
pub mod replay;
