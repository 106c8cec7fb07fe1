//! Certificates that hosts make themselves: an authority and a certificate by it in one Secret,
//! which all replicas share.
//!
//! [`Material`] is what the Secret holds, [`Schedule`] says what to do with it at a time: that is
//! all data, and knows neither clocks nor clusters. `keeper` does it: one of the few modules that
//! know `kube::Client`.
//!
//! Invariant: at every moment, whoever trusts what the webhook configurations said an overlap ago
//! or say now trusts every certificate that a replica may still show.

mod election;
mod keeper;
mod material;
mod mint;
mod schedule;

pub use keeper::{Keeper, Places};
pub use material::{Defect, Material};
pub use schedule::{Schedule, ScheduleError, Step};
