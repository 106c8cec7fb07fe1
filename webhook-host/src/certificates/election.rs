//! Which replica writes: the one that holds the Lease.
//!
//! A Lease that was not renewed for its duration may be taken. How long that is, each replica
//! measures on its own clock, from when it saw the Lease change: what is written in it as a time is
//! not compared, so clocks may go differently. Two replicas that take it at once are told apart by
//! its resourceVersion; what the leader writes has that precondition too, so a leader that does not
//! know yet that it was replaced does no harm.

use k8s_openapi::api::coordination::v1::LeaseSpec;
use std::time::{Duration, Instant};

/// One replica's view of the Lease.
#[derive(Debug)]
pub(super) struct Election {
    me: String,
    seen: Option<(LeaseSpec, Instant)>,
}

/// What to do with the Lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is ours: renew it.
    Leads,
    /// Nobody holds it: take it.
    MayLead,
    /// Somebody else holds it.
    Follows(String),
}

impl Election {
    pub(super) fn new(me: String) -> Self {
        Self { me, seen: None }
    }

    pub(super) fn me(&self) -> &str {
        &self.me
    }

    /// Looks at what the Lease says now.
    pub(super) fn look(&mut self, lease: Option<&LeaseSpec>, now: Instant) -> Standing {
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
    fn a_lease_of_nobody_may_be_taken() {
        let mut election = Election::new("a".to_owned());
        assert_eq!(election.look(None, Instant::now()), Standing::MayLead);
        assert_eq!(
            election.look(Some(&LeaseSpec::default()), Instant::now()),
            Standing::MayLead
        );
        assert_eq!(
            election.look(Some(&lease("", 1)), Instant::now()),
            Standing::MayLead
        );
    }

    #[test]
    fn a_lease_may_be_taken_when_it_stood_still_for_its_duration() {
        let (mut election, start) = (Election::new("a".to_owned()), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(
            election.look(Some(&lease("b", 1)), at(0)),
            Standing::Follows("b".to_owned())
        );
        assert_eq!(
            election.look(Some(&lease("b", 1)), at(30)),
            Standing::Follows("b".to_owned())
        );
        assert_eq!(
            election.look(Some(&lease("b", 2)), at(31)),
            Standing::Follows("b".to_owned())
        );
        assert_eq!(
            election.look(Some(&lease("b", 2)), at(61)),
            Standing::Follows("b".to_owned())
        );
        assert_eq!(
            election.look(Some(&lease("b", 2)), at(62)),
            Standing::MayLead
        );
        assert_eq!(election.look(Some(&lease("a", 3)), at(63)), Standing::Leads);
    }
}
