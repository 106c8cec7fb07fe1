//! Webhook configurations: how API servers come to ask this host, and how that is kept so.
//!
//! [`registration`] makes the configurations and [`backstop`] the ValidatingAdmissionPolicies that
//! hold while no host answers; both are pure functions of the policies and options. [`registrar`]
//! applies them and keeps them in shape, and `ca_bundle` writes the authority that API servers
//! trust: both write to the cluster, ever more slowly where somebody else writes something
//! different (`contest`).

pub mod backstop;
pub(crate) mod ca_bundle;
mod cel;
mod contest;
pub mod registrar;
pub mod registration;
