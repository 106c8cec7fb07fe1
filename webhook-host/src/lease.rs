//! Leader election over a Lease: the holder writes shared objects, the other replicas don't.
//!
//! Held by `certificates` for the Secret, and by `audit_reports` for Reports, each by its own
//! Lease.
//!
//! A replica may take a Lease that did not change for its duration. Each replica measures that on
//! its own clock from the moment it saw the Lease change, and never compares the times written in
//! it, so clocks may differ. When two replicas take the Lease at once, its resourceVersion lets one
//! of them win. The leader's other writes have a resourceVersion as precondition too, so a former
//! leader that has not noticed its replacement does no harm.

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Api, PostParams};
use kube::{Client, Result};
use std::time::{Duration, Instant};

/// One replica's part in the election for one Lease.
pub(crate) struct Candidacy {
    leases: Api<Lease>,
    name: String,
    /// Time without a renewal after which another replica may take it.
    duration: Duration,
    election: Election,
}

impl Candidacy {
    /// Runs for a Lease under a name that no other replica has.
    pub(crate) fn new(
        client: &Client,
        namespace: &str,
        name: &str,
        duration: Duration,
        me: String,
    ) -> Self {
        Self {
            leases: Api::namespaced(client.clone(), namespace),
            name: name.to_owned(),
            duration,
            election: Election::new(me),
        }
    }

    /// Takes or renews the Lease. Returns `None` when this replica leads, else the leader's name.
    pub(crate) async fn elect(&mut self) -> Result<Option<String>> {
        let found = self.leases.get_opt(&self.name).await?;
        let standing = self.election.standing(
            found.as_ref().and_then(|lease| lease.spec.as_ref()),
            Instant::now(),
        );
        let taken = match standing {
            Standing::Follows(holder) => return Ok(Some(holder)),
            Standing::MayLead => true,
            Standing::Leads => false,
        };
        let old = found
            .as_ref()
            .and_then(|lease| lease.spec.clone())
            .unwrap_or_default();
        let now = MicroTime(Timestamp::now());
        let spec = LeaseSpec {
            holder_identity: Some(self.election.me().to_owned()),
            lease_duration_seconds: Some(
                i32::try_from(self.duration.as_secs()).unwrap_or(i32::MAX),
            ),
            acquire_time: if taken {
                Some(now.clone())
            } else {
                old.acquire_time
            },
            renew_time: Some(now),
            lease_transitions: Some(old.lease_transitions.unwrap_or_default() + i32::from(taken)),
            ..LeaseSpec::default()
        };
        let name = &self.name;
        match found {
            None => {
                let metadata = ObjectMeta {
                    name: Some(name.clone()),
                    ..ObjectMeta::default()
                };
                let lease = Lease {
                    metadata,
                    spec: Some(spec),
                };
                self.leases.create(&PostParams::default(), &lease).await?;
            }
            Some(mut lease) => {
                lease.spec = Some(spec);
                self.leases
                    .replace(name, &PostParams::default(), &lease)
                    .await?;
            }
        }
        Ok(None)
    }
}

/// One replica's view of the Lease.
#[derive(Debug)]
struct Election {
    me: String,
    seen: Option<(LeaseSpec, Instant)>,
}

/// The action that the state of the Lease allows.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    /// This replica holds it, and must renew it.
    Leads,
    /// No replica holds it, and this one may take it.
    MayLead,
    /// Another replica holds it.
    Follows(String),
}

impl Election {
    fn new(me: String) -> Self {
        Self { me, seen: None }
    }

    fn me(&self) -> &str {
        &self.me
    }

    /// Decides what to do with the Lease as it is now.
    fn standing(&mut self, lease: Option<&LeaseSpec>, now: Instant) -> Standing {
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
