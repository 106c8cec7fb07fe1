//! Leader election over a Lease: the holder writes the Secret, the other replicas read it.
//!
//! A replica may take a Lease that did not change for its duration. Each replica measures that on
//! its own clock from the moment it saw the Lease change, and never compares the times written in
//! it, so clocks may differ. When two replicas take the Lease at once, its resourceVersion lets one
//! of them win. The leader's writes to the Secret have such a precondition too, so a leader that
//! does not know yet that it was replaced does no harm.

use k8s_openapi::api::coordination::v1::LeaseSpec;
use std::time::{Duration, Instant};

/// One replica's view of the Lease.
#[derive(Debug)]
pub(super) struct Election {
    me: String,
    seen: Option<(LeaseSpec, Instant)>,
}

/// The action that the state of the Lease allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// This replica holds it, and must renew it.
    Leads,
    /// Nobody holds it, and this replica may take it.
    MayLead,
    /// Another replica holds it.
    Follows(String),
}

impl Election {
    pub(super) fn new(me: String) -> Self {
        Self { me, seen: None }
    }

    pub(super) fn me(&self) -> &str {
        &self.me
    }

    /// Decides what to do with the Lease as it is now.
    pub(super) fn standing(&mut self, lease: Option<&LeaseSpec>, now: Instant) -> Standing {
        let holder = lease
            .and_then(|lease| lease.holder_identity.clone())
            .filter(|holder| !holder.is_empty());
        let (Some(lease), Some(holder)) = (lease, holder) else {
            return Standing::MayLead;
        };
        if holder == self.me {
            return Standing::Leads;
        }
        let since = match &self.seen {
            Some((seen, since)) if seen == lease => *since,
            _ => {
                self.seen = Some((lease.clone(), now));
                now
            }
        };
        let seconds = lease.lease_duration_seconds.unwrap_or_default();
        let duration = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
        if now.duration_since(since) > duration {
            Standing::MayLead
        } else {
            Standing::Follows(holder)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(holder: &str, transitions: i32) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(30),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }

    #[test]
    fn a_lease_without_a_holder_may_be_taken() {
        let mut election = Election::new("a".to_owned());
        assert_eq!(election.standing(None, Instant::now()), Standing::MayLead);
        assert_eq!(
            election.standing(Some(&LeaseSpec::default()), Instant::now()),
            Standing::MayLead
        );
        assert_eq!(
            election.standing(Some(&lease("", 1)), Instant::now()),
            Standing::MayLead
        );
    }

    #[test]
    fn a_lease_unchanged_for_its_duration_may_be_taken() {
        let (mut election, start) = (Election::new("a".to_owned()), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(
            election.standing(Some(&lease("b", 1)), at(0)),
            Standing::Follows("b".to_owned())
        );
        assert_eq!(
            election.standing(Some(&lease("b", 1)), at(30)),
            Standing::Follows("b".to_owned())
        );
        assert_eq!(
            election.standing(Some(&lease("b", 2)), at(31)),
            Standing::Follows("b".to_owned())
        );
        assert_eq!(
            election.standing(Some(&lease("b", 2)), at(61)),
            Standing::Follows("b".to_owned())
        );
        assert_eq!(
            election.standing(Some(&lease("b", 2)), at(62)),
            Standing::MayLead
        );
        assert_eq!(
            election.standing(Some(&lease("a", 3)), at(63)),
            Standing::Leads
        );
    }
}
