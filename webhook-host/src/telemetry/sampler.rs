//! Decides which reviews get a span: those that the caller samples, or a share of all.

use super::random;
use crate::trace_context::TraceContext;

/// The rule by which reviews are sampled.
#[derive(Debug, Clone, Copy)]
pub struct Sampler {
    /// True if a caller's decision counts.
    follows_caller: bool,
    /// The share of the other reviews, of `u64::MAX`.
    share: u64,
}

impl Sampler {
    /// Samples what the caller samples, and this share (0 to 1) of the reviews without a caller's
    /// trace.
    #[must_use]
    pub fn following(share: f64) -> Self {
        Self {
            follows_caller: true,
            share: of_max(share),
        }
    }

    /// Samples this share (0 to 1) of all reviews, whatever their caller does.
    #[must_use]
    pub fn ignoring(share: f64) -> Self {
        Self {
            follows_caller: false,
            share: of_max(share),
        }
    }

    /// Decides on one review. All reviews of one trace get the same decision.
    pub(super) fn samples(self, caller: Option<&TraceContext>) -> bool {
        match caller {
            Some(caller) if self.follows_caller => caller.is_sampled,
            _ if self.share == 0 => false,
            _ if self.share == u64::MAX => true,
            // The lower half of an id is random (W3C Trace Context, level 2).
            Some(caller) => lower(caller.trace_id.0) < self.share,
            None => random() < self.share,
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share, and casts of floats saturate"
)]
fn of_max(share: f64) -> u64 {
    (share * u64::MAX as f64) as u64
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is wanted")]
fn lower(id: u128) -> u64 {
    id as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(is_sampled: bool) -> TraceContext {
        let flags = u8::from(is_sampled);
        let header = format!("00-0af7651916cd43ddf448eb211c80319c-b7ad6b7169203331-0{flags}");
        TraceContext::parse(&header).expect("valid")
    }

    #[test]
    fn the_caller_decides_where_it_is_followed() {
        for sampler in [Sampler::following(0.0), Sampler::following(1.0)] {
            assert!(sampler.samples(Some(&caller(true))));
            assert!(!sampler.samples(Some(&caller(false))));
        }
        assert!(Sampler::ignoring(1.0).samples(Some(&caller(false))));
        assert!(!Sampler::ignoring(0.0).samples(Some(&caller(true))));
    }

    #[test]
    fn a_share_is_kept() {
        assert!(!Sampler::following(0.0).samples(None));
        assert!(Sampler::following(1.0).samples(None));
        let some = Sampler::following(0.25);
        let sampled = (0..4000).filter(|_| some.samples(None)).count();
        assert!((800..1200).contains(&sampled), "{sampled}");
        // The lower half begins with f4: 0.957 of all ids are lower.
        assert!(!Sampler::ignoring(0.95).samples(Some(&caller(false))));
        assert!(Sampler::ignoring(0.96).samples(Some(&caller(false))));
    }
}
