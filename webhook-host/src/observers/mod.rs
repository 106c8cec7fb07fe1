//! Observers look at reviews that were answered already: the shadow asks candidates, the recorder
//! writes a file.
//!
//! Each has one thread and one bounded queue. A request hands over what it was answered with and
//! never waits; a review that does not fit the queue is counted and dropped. Both take the lock for
//! large bodies before they parse one again. Started and fed by `server`.

mod queue;
mod recorder;
mod shadow;

pub(crate) use queue::Answered;
pub use recorder::Recorder;
pub(crate) use shadow::Shadow;
