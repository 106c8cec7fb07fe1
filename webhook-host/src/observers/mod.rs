//! Observers of answered reviews: the shadow asks candidates, the recorder writes a file.
//!
//! Each has one thread and one bounded queue. A request hands over the review with its outcome and
//! never waits; a review that does not fit the queue is counted and dropped. Both take the
//! large-body lock before they parse a large body again. Created by `cli` and `server`, fed by
//! `server`.

mod queue;
mod recorder;
mod shadow;

pub(crate) use queue::Answered;
pub use recorder::Recorder;
pub(crate) use shadow::Shadow;
