//! Sources: policies and configuration from files and from the cluster, loaded, watched and
//! reloaded.
//!
//! `load` reads manifests and components; `source` makes a whole set of them, `custom` of the
//! cluster's ServicePolicies; `watch` notices changes, and `reload` publishes a new set, whole or
//! not at all. Started by `cli`.

pub(crate) mod custom;
pub(crate) mod load;
pub(crate) mod reload;
pub(crate) mod source;
pub(crate) mod watch;
