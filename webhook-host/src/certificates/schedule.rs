//! The schedule of the self-managed certificate: when to renew it, and how one authority replaces
//! another.
//!
//! An authority is replaced in three steps, so that no client ever sees a certificate that it does
//! not trust:
//!
//! 1. A new authority is created, and the webhook configurations list both. The certificate of the
//!    old one keeps serving.
//! 2. One overlap later, and once the configurations do list both, a certificate of the new
//!    authority serves.
//! 3. When every certificate of the old authority has expired, the configurations list the new
//!    authority alone.
//!
//! The current step follows from the certificates themselves: there is no other state that could be
//! lost or wrong.

use super::material::Material;
use super::mint::SKEW;
use crate::tls::{Certificate, TlsError};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// An authority must outlive a certificate that it signs just before its own rotation, when two
/// thirds of its life are over.
const MIN_AUTHORITY_TO_LEAF: i32 = 3;

/// The time for which clients trust a new authority before it signs: API servers notice a changed
/// webhook configuration within seconds, and a person who must intervene has a day.
const OVERLAP: SignedDuration = SignedDuration::from_hours(24);

/// A renewal may be delayed by one overlap. It is due when a third of the certificate's life is
/// left, so an overlap of a sixth of that life is half of the rest.
const MIN_LEAF_TO_OVERLAP: i32 = 6;

/// Interval at which Secret, Lease and webhook configurations are read, unless certificates are so
/// short-lived that a sixtieth of their life is less.
const INTERVAL: SignedDuration = SignedDuration::from_secs(10);
const LEAF_TO_INTERVAL: i32 = 60;

/// Certificates hold whole seconds: one may have been made up to a second later than it says.
const RESOLUTION: SignedDuration = SignedDuration::from_secs(1);

/// Lifetimes of the authority and the certificate, and the overlap. Invariant: they fit each other.
#[derive(Debug, Clone)]
pub struct Schedule {
    names: Vec<String>,
    authority: SignedDuration,
    leaf: SignedDuration,
    overlap: SignedDuration,
}

/// An authority that lives too short for the certificates that it makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an authority that lives {authority:#} is too short for certificates that live {leaf:#}: it \
     must live at least three times as long"
)]
pub struct ScheduleError {
    authority: SignedDuration,
    leaf: SignedDuration,
}

/// The next step of the rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing to do before this time.
    Keep(Timestamp),
    /// Wait until clients trust the new authority.
    AwaitTrust,
    /// Create a new authority, which clients trust beside the old one.
    Rotate,
    /// Sign a new certificate with the newest authority.
    Renew,
    /// Remove the old authorities.
    Retire,
}

impl Schedule {
    /// Creates a schedule for certificates with these names, with the lifetimes of an authority and
    /// of a certificate.
    ///
    /// # Errors
    ///
    /// When the authority lives less than three times as long as a certificate.
    pub fn new(
        names: Vec<String>,
        authority: SignedDuration,
        leaf: SignedDuration,
    ) -> Result<Self, ScheduleError> {
        if authority < leaf * MIN_AUTHORITY_TO_LEAF {
            return Err(ScheduleError { authority, leaf });
        }
        Ok(Self {
            names,
            authority,
            leaf,
            overlap: OVERLAP.min(leaf / MIN_LEAF_TO_OVERLAP),
        })
    }

    /// Returns the interval at which the schedule is checked.
    pub fn interval(&self) -> Duration {
        INTERVAL.min(self.leaf / LEAF_TO_INTERVAL).unsigned_abs()
    }

    /// Creates the material for an empty Secret.
    ///
    /// # Errors
    ///
    /// When the random source fails.
    pub fn begin(&self, now: Timestamp) -> Result<Material, TlsError> {
        Material::begin(&self.names, (self.authority, self.leaf), now)
    }

    /// Returns the step that is due now. `trusted` means that the webhook configurations list all
    /// authorities of the material.
    pub fn step(&self, material: &Material, now: Timestamp, trusted: bool) -> Step {
        let Some(leaf) = material.leaf() else {
            return Step::Renew;
        };
        let certificate = leaf.identity.certificate();
        if !leaf.by_newest {
            return self.step_to_new_authority(material, certificate, now, trusted);
        }
        let has_name = |name| certificate.names.contains(name);
        let rotation = renewal_time(material.authority());
        let renewal = renewal_time(certificate);
        let retirement = self.retirement(material);
        if now >= rotation {
            Step::Rotate
        } else if now >= renewal || !self.names.iter().all(has_name) {
            Step::Renew
        } else if retirement.is_some_and(|retirement| now >= retirement) {
            Step::Retire
        } else {
            let next = rotation.min(renewal);
            Step::Keep(retirement.map_or(next, |retirement| next.min(retirement)))
        }
    }

    /// Returns the step that is due while the old authority's certificate serves.
    fn step_to_new_authority(
        &self,
        material: &Material,
        old: &Certificate,
        now: Timestamp,
        trusted: bool,
    ) -> Step {
        let signs = self.first_signature(material);
        if now >= old.not_after {
            // Clients refuse an expired certificate anyway.
            Step::Renew
        } else if now < signs {
            Step::Keep(signs)
        } else if trusted {
            Step::Renew
        } else {
            Step::AwaitTrust
        }
    }

    /// Returns the time at which the first of the old authorities is no longer needed; `None` where
    /// there is none.
    fn retirement(&self, material: &Material) -> Option<Timestamp> {
        let expiries = material.older().iter().map(|old| old.certificate.not_after);
        Some(expiries.min()?.min(self.end_of_old_certificates(material)))
    }

    /// Returns the time at which every certificate of the old authorities has expired: they signed
    /// the last one before the newest authority signed its first.
    fn end_of_old_certificates(&self, material: &Material) -> Timestamp {
        self.first_signature(material) + self.leaf
    }

    /// Returns the time at which the newest authority may sign its first certificate.
    fn first_signature(&self, material: &Material) -> Timestamp {
        made(material.authority()) + RESOLUTION + self.overlap
    }

    /// Carries out a step; `Keep` and `AwaitTrust` change nothing.
    ///
    /// # Errors
    ///
    /// When the random source fails.
    pub fn take(
        &self,
        step: Step,
        material: &mut Material,
        now: Timestamp,
    ) -> Result<(), TlsError> {
        match step {
            Step::Keep(_) | Step::AwaitTrust => Ok(()),
            Step::Rotate => material.rotate(self.authority, now),
            Step::Renew => material.renew(&self.names, self.leaf, now),
            Step::Retire => {
                let all = now >= self.end_of_old_certificates(material);
                material.retire(|old| all || now >= old.certificate.not_after);
                Ok(())
            }
        }
    }
}

/// Returns the time of renewal: two thirds of the certificate's life, less up to a twentieth, so
/// that the installations of a fleet don't all renew in the same minute.
fn renewal_time(certificate: &Certificate) -> Timestamp {
    let start = made(certificate);
    let life = certificate.not_after.duration_since(start);
    let spread =
        life / 20 * i32::try_from(start.as_second().rem_euclid(16)).unwrap_or_default() / 16;
    start + life * 2 / 3 - spread
}

fn made(certificate: &Certificate) -> Timestamp {
    certificate.not_before + SKEW
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    const DAY: SignedDuration = SignedDuration::from_hours(24);
    const LEAF: SignedDuration = SignedDuration::from_hours(24 * 90);

    fn schedule() -> Schedule {
        Schedule::new(vec!["sallyport.test.svc".to_owned()], DAY * 365, LEAF).expect("they fit")
    }

    fn start() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().expect("a time")
    }

    /// Returns true when clients that trust this bundle accept the certificate of `shown` at this
    /// time.
    fn accepts(bundle: &Material, shown: &Material, now: Timestamp) -> bool {
        let shown_data = shown.to_data();
        let mut data = bundle.to_data();
        data.extend(["tls.crt", "tls.key"].map(|key| (key.to_owned(), shown_data[key].clone())));
        let certificate = shown.identity().expect("it shows one").certificate();
        let (read, _) = Material::from_data(&data).expect("the authorities are good");
        read.identity().is_some() && now >= certificate.not_before && now <= certificate.not_after
    }

    #[test]
    fn over_years_every_client_trusts_every_replicas_certificate() {
        let (schedule, look) = (schedule(), SignedDuration::from_hours(6));
        let (mut now, end) = (start(), start() + DAY * 365 * 6);
        let mut material = schedule.begin(now).expect("made");
        // The states of the last overlap: replicas and clients may still have any of them.
        let mut recent = VecDeque::from([material.clone()]);
        let (mut renewed, mut rotated, mut retired) = (0, 0, 0);
        while now < end {
            let step = schedule.step(&material, now, true);
            schedule.take(step, &mut material, now).expect("taken");
            match step {
                Step::Renew => renewed += 1,
                Step::Rotate => rotated += 1,
                Step::Retire => retired += 1,
                Step::Keep(next) => assert!(next > now, "{next}"),
                Step::AwaitTrust => panic!("clients trust the authority"),
            }
            recent.push_back(material.clone());
            while recent.len()
                > usize::try_from(OVERLAP.as_hours() / look.as_hours()).expect("a few")
            {
                recent.pop_front();
            }
            if !matches!(step, Step::Keep(_)) {
                for (client, replica) in recent
                    .iter()
                    .flat_map(|client| recent.iter().map(move |replica| (client, replica)))
                {
                    assert!(accepts(client, replica, now), "at {now} after {step:?}");
                }
            }
            assert!(material.older().len() <= 1);
            now += look;
        }
        // One every 60 days or a little earlier, and one for each new authority.
        assert!(
            (36..=36 + 4 + rotated).contains(&renewed),
            "{renewed} certificates"
        );
        assert!(
            (8..=10).contains(&rotated) && retired >= rotated - 1,
            "{rotated} authorities, {retired} retired"
        );
    }

    #[test]
    fn no_certificate_by_a_new_authority_before_clients_trust_it() {
        let (schedule, mut material) = (schedule(), schedule().begin(start()).expect("made"));
        let now = start() + DAY * 244;
        schedule
            .take(Step::Renew, &mut material, now)
            .expect("renewed");
        assert_eq!(schedule.step(&material, now, true), Step::Rotate);
        schedule
            .take(Step::Rotate, &mut material, now)
            .expect("rotated");
        assert_eq!(
            schedule.step(&material, now, true),
            Step::Keep(now + RESOLUTION + OVERLAP)
        );
        let now = now + RESOLUTION;
        assert_eq!(
            schedule.step(&material, now + OVERLAP, false),
            Step::AwaitTrust
        );
        assert_eq!(schedule.step(&material, now + OVERLAP, true), Step::Renew);
    }

    #[test]
    fn when_nothing_valid_is_left_to_show_nobody_waits() {
        let (schedule, mut material) = (schedule(), schedule().begin(start()).expect("made"));
        let now = start() + DAY * 800;
        assert_eq!(schedule.step(&material, now, false), Step::Rotate);
        schedule
            .take(Step::Rotate, &mut material, now)
            .expect("rotated");
        assert_eq!(schedule.step(&material, now, false), Step::Renew);
        schedule
            .take(Step::Renew, &mut material, now)
            .expect("renewed");
        assert!(
            material.older().is_empty(),
            "an expired authority is still listed"
        );
    }

    #[test]
    fn an_old_authority_outlives_its_last_certificate() {
        let (schedule, mut material) = (schedule(), schedule().begin(start()).expect("made"));
        let now = start() + DAY * 200;
        schedule
            .take(Step::Rotate, &mut material, now)
            .expect("rotated");
        let signs = now + RESOLUTION + OVERLAP;
        schedule
            .take(Step::Renew, &mut material, signs)
            .expect("renewed");
        assert!(matches!(
            schedule.step(&material, signs + DAY, true),
            Step::Keep(_)
        ));
        schedule
            .take(Step::Renew, &mut material, signs + DAY * 60)
            .expect("renewed");
        assert_eq!(
            schedule.step(&material, signs + LEAF + DAY, true),
            Step::Retire
        );
    }

    #[test]
    fn another_name_is_a_reason_to_renew() {
        let material = schedule().begin(start()).expect("made");
        let other =
            Schedule::new(vec!["other.test.svc".to_owned()], DAY * 365, LEAF).expect("they fit");
        assert_eq!(other.step(&material, start(), true), Step::Renew);
    }

    #[test]
    fn a_clock_that_goes_slow_takes_no_step() {
        let material = schedule().begin(start()).expect("made");
        assert!(matches!(
            schedule().step(&material, start() - DAY * 30, true),
            Step::Keep(_)
        ));
    }

    #[test]
    fn lives_that_do_not_fit_are_refused() {
        let error = Schedule::new(vec![], DAY * 100, DAY * 90).expect_err("too short");
        assert!(
            error
                .to_string()
                .contains("must live at least three times as long")
        );
    }

    #[test]
    fn overlap_and_interval_shrink_with_the_life_of_a_certificate() {
        let made = |leaf| Schedule::new(vec![], DAY * 365, leaf).expect("they fit");
        let of = |schedule: Schedule| (schedule.overlap, schedule.interval());
        assert_eq!(of(made(LEAF)), (OVERLAP, Duration::from_secs(10)));
        let short = made(SignedDuration::from_secs(12));
        let expected = (SignedDuration::from_secs(2), Duration::from_millis(200));
        assert_eq!(of(short), expected);
    }
}
