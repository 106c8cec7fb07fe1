//! Counts its calls in a static and reports the count as a warning. It proves that each evaluation has an instance of its own:
//! the count is 1 for ever.

use sallyport_policy::prelude::*;
use std::sync::atomic::{AtomicU32, Ordering};

policy!(Count);

/// How often this instance was asked.
static CALLS: AtomicU32 = AtomicU32::new(0);

/// Tells how often it was asked.
pub struct Count;

impl Policy for Count {
    type Settings = ();

    fn describe() -> Description {
        Description::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
    }

    fn defaults() {}

    fn configure((): ()) -> Result<Self, Vec<SettingsError>> {
        Ok(Self)
    }

    fn validate(&self, _review: &Review) -> Verdict {
        Verdict::allow().warn(format!("call {}", CALLS.fetch_add(1, Ordering::Relaxed) + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sallyport_policy::testing::*;

    #[test]
    fn an_instance_that_lives_on_counts_up() {
        let count = || Count.validate(&create(cluster_ip("w"))).warnings;
        assert_eq!((count(), count()), (vec!["call 1".to_owned()], vec!["call 2".to_owned()]));
    }
}
