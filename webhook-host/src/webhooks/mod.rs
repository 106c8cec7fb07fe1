//! Webhook configurations: how API servers come to call this host.
//!
//! [`registration`] makes the configurations. For the time while no host answers, [`backstop`]
//! makes ValidatingAdmissionPolicies and [`defaults`] MutatingAdmissionPolicies. All are pure
//! functions of the policies and options, with `cel` for conditions and literals.
//! [`static_manifests`] makes files of them, for API servers that load them from their own disk.
//! [`registrar`] applies and maintains the configurations, and `ca_bundle` writes the authorities
//! that API servers trust; both back off where somebody else keeps writing something different
//! (`write_backoff`).

pub mod backstop;
pub(crate) mod ca_bundle;
mod cel;
pub mod defaults;
pub mod registrar;
pub mod registration;
pub mod static_manifests;
mod write_backoff;
