//! Reports: what the harness found, for people, for programs, for CI systems.
//!
//! Each format is one file and a pure function from findings to text; `cli` prints it.

pub mod check;
pub mod diagnosis;
pub mod explanation;
pub mod github;
pub mod inspection;
pub mod lint;
pub mod live;
pub mod registration;
pub mod replay;
pub mod sarif;
pub mod tests;
