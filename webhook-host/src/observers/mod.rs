//! Observers of answered reviews: the shadow asks candidates, the recorder and the decision log
//! write lines, and recent denials are kept for the live console.
//!
//! Each has one thread and one bounded queue. A request hands over the review with its outcome and
//! never waits; a review that does not fit the queue is counted and dropped. They take the
//! large-body lock before they parse a large body again. Created by `cli` and `server`, fed by
//! `server`.

mod queue;
mod recent;
mod shadow;
mod writer;

pub(crate) use queue::{Answered, Queue, QueueReader, queue};
pub use recent::Recent;
pub(crate) use recent::{DenialCounts, Ring};
pub(crate) use shadow::Shadow;
pub use writer::{Destination, LineWriter};
