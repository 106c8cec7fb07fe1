//! Reports: the output of `bench`, `doctor`, `replay`, `webhooks`, `explain`, `import`
//! and `inspect --live`.
//!
//! Each report is one file of pure functions from findings to text or JSON; `cli` prints the
//! result.

pub mod audit;
pub mod bench;
pub mod diagnosis;
pub mod explanation;
pub mod exposures;
pub mod html;
pub mod imported;
pub mod live;
pub mod registration;
pub mod replay;
mod table;
