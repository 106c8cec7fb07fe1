//! Reports: the output of `bench`, `doctor`, `replay`, `webhooks`, `explain`, `import`
//! and `inspect --live`.
//!
//! Each report is one file of pure functions from findings to text or JSON; `cli` prints the
//! result.

pub mod bench;
pub mod diagnosis;
pub mod explanation;
pub mod imported;
pub mod live;
mod reach;
pub mod registration;
pub mod replay;
