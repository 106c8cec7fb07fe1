//! Sources: policies and configuration from files and from the cluster, loaded, watched and
//! reloaded. Started by `cli`.
//!
//! `load` reads manifests and components of files, and `custom` loads the cluster's
//! ServicePolicies; `source` combines both into a whole Set. `watch` notices changes, and `reload`
//! publishes a new Set, as a whole or not at all.

pub(crate) mod custom;
pub(crate) mod load;
#[cfg(unix)]
pub(crate) mod reload;
pub(crate) mod source;
pub(crate) mod watch;
