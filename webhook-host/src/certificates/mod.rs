//! The self-managed certificate: an authority and a certificate signed by it in one Secret, which
//! all replicas share.
//!
//! [`Material`] is the content of the Secret, and [`Schedule`] decides the next step at a given
//! time; both are plain values without a clock or a client. `keeper` carries the steps out with a
//! `kube::Client`, and the Lease (`lease`) decides which replica writes.
//!
//! Invariant: a client that trusts the authorities of the webhook configurations, as they are now
//! or were one overlap ago, trusts every certificate that any replica may still present.

mod keeper;
mod material;
mod mint;
mod schedule;

pub use keeper::{Keeper, Places};
pub use material::{Defect, Material};
pub use schedule::{Schedule, ScheduleError, Step};
