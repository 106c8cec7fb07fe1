//! S05: from where a load balancer may be reached.
//!
//! The field wins over the annotations that its controller reads in place of it. A range that does
//! not parse lies in no allowed block. Ranges count only where the controller enforces them and
//! nothing else in the Service voids them.

use super::LoadBalancerExposure;
use super::internal::annotation;
use super::settings::RequireSourceRanges;
use sallyport_facts::Controller;
use sallyport_facts::internal::{Enforces, SOURCE_RANGES};
use sallyport_facts::ranges::{FIELD, Ranges, voids};
use sallyport_policy::net::{Cidr, Share, cover_the_world, shares};
use sallyport_policy::prelude::*;

/// The beginning of the keys of ranges that admit too many.
const TOO_WIDE: &str = "sourceRange:";
const TOO_WIDE_TOGETHER: &str = "sourceRanges:world:";
const MISSING: &str = "LoadBalancer:no source ranges";
const OPEN_FAMILY: &str = "sourceRanges:open:";

/// Returns true if the violation is that the ranges admit too many clients.
pub(crate) fn admits_too_many(violation: &Violation) -> bool {
    let key = violation.key.as_str();
    violation.rule == "S05"
        && (key == MISSING
            || [TOO_WIDE, TOO_WIDE_TOGETHER, OPEN_FAMILY]
                .iter()
                .any(|kind| key.starts_with(kind)))
}

impl LoadBalancerExposure {
    /// `is_public` tells whether the load balancer may be a public one.
    pub(crate) fn judge_ranges(
        &self,
        review: &Review,
        service: &Service,
        is_public: bool,
        verdict: &mut Verdict,
    ) {
        let controllers = self.controllers_for(review, service).ok();
        let controllers = controllers.as_deref();
        let ranges = Ranges::of(service, controllers);
        let required = match self.settings.require_source_ranges {
            RequireSourceRanges::Never => false,
            RequireSourceRanges::UnlessInternal => is_public,
            RequireSourceRanges::Always => true,
        };
        if required && !ranges.are_read {
            self.deny_missing(service, controllers, verdict);
        }
        self.judge_each(&ranges, verdict);
        if ranges.are_read && (required || self.limits_ranges()) {
            self.judge_families(service, controllers, &ranges, verdict);
        }
        let settings = &self.settings;
        let may_have_ranges = ranges.are_read
            || !settings
                .set_on_create
                .load_balancer_source_ranges
                .is_empty();
        if required || self.limits_ranges() && may_have_ranges {
            judge_voids(review, service, controllers, verdict);
            let mut warnings =
                judge_enforcement(service, controllers.unwrap_or_default(), required, verdict);
            // The warnings are about ranges that are given; and controllers write the status often.
            warnings.retain(|_| ranges.are_read && review.resource == Resource::Services);
            verdict.warnings.append(&mut warnings);
        }
    }

    /// Returns true if the settings say which ranges may be named.
    fn limits_ranges(&self) -> bool {
        self.settings.forbid_world || !self.allowed.is_empty()
    }

    fn deny_missing(
        &self,
        service: &Service,
        controllers: Option<&[&Controller]>,
        verdict: &mut Verdict,
    ) {
        let violation = match controllers {
            Some([first, ..]) if service.annotation(SOURCE_RANGES).is_some() => {
                let message = format!(
                    "{} does not read the annotation, so that the load balancer is open to the \
                     whole world",
                    first.name
                );
                let fix = format!("use {FIELD}");
                Violation::new("S05", annotation(SOURCE_RANGES), message).fix(fix)
            }
            _ => {
                let message = "missing, so that the load balancer is open to the whole world";
                Violation::new("S05", FIELD, message).fix(self.name_blocks())
            }
        };
        verdict.violations.push(violation.key(MISSING));
    }

    fn judge_each(&self, ranges: &Ranges<'_>, verdict: &mut Verdict) {
        let mut blocks = vec![];
        for range in &ranges.list {
            let block = Cidr::parse(range.text);
            // A block that is the world by itself has a violation already; the others may be it
            // together.
            blocks.extend(block.filter(|block| !cover_the_world(&[*block])));
            if let Some(problem) = self.problem(block) {
                let message = format!("{} {problem}", quote(range.text));
                self.deny(
                    verdict,
                    range.field(),
                    message,
                    format!("{}{}", TOO_WIDE, range.text),
                );
            }
        }
        if self.settings.forbid_world && !blocks.is_empty() {
            let (v4, v6) = shares(&blocks);
            for (share, family) in [(v4, "IPv4"), (v6, "IPv6")] {
                let how_much = match share {
                    Share::Part => continue,
                    Share::Most => "most",
                    Share::All => "all",
                };
                let what = format!("{how_much} of {family}");
                let message = format!(
                    "together the ranges open the load balancer to the whole world ({what})"
                );
                self.deny(
                    verdict,
                    ranges.root(),
                    message,
                    format!("{}{what}", TOO_WIDE_TOGETHER),
                );
            }
        }
    }

    /// Adds a violation for each IP family of the Service that is open because no range is of this
    /// family: to Google's controller and to kube-proxy, which enforces ranges where no other
    /// controller is known to, each family has a list of its own, and an empty one admits everyone.
    fn judge_families(
        &self,
        service: &Service,
        controllers: Option<&[&Controller]>,
        ranges: &Ranges<'_>,
        verdict: &mut Verdict,
    ) {
        let opens = |controller: &&&Controller| {
            matches!(controller.enforces(service), Enforces::EachFamily)
        };
        let by = match controllers {
            None => "kube-proxy, unless another controller enforces the ranges,",
            Some(controllers) => match controllers.iter().find(opens) {
                Some(controller) => controller.name,
                None => return,
            },
        };
        for (family, other, is_v6) in [("IPv4", "IPv6", false), ("IPv6", "IPv4", true)] {
            if !ranges.open_families(service).contains(&family) {
                continue;
            }
            let message = format!(
                "no range is of {family}, so that {by} opens the load balancer to the whole world \
                 by {family}"
            );
            let mut fix = format!("name blocks of {family}");
            for (i, block) in self.allowed.iter().enumerate() {
                if let (true, Some(text)) =
                    (block.is_v6() == is_v6, self.settings.allowed_cidrs.get(i))
                {
                    fix.push_str(if fix.contains('/') {
                        " or "
                    } else {
                        ", inside "
                    });
                    fix.push_str(text);
                }
            }
            if service.has_family(other) {
                fix.push_str(&format!(
                    ", or set spec.ipFamilyPolicy to SingleStack and spec.ipFamilies to [{other}]"
                ));
            }
            let violation = Violation::new("S05", ranges.root(), message);
            verdict.add(violation.key(format!("{OPEN_FAMILY}{family}")).fix(fix));
        }
    }

    fn deny(&self, verdict: &mut Verdict, field: String, message: String, key: String) {
        verdict.add(
            Violation::new("S05", field, message)
                .key(key)
                .fix(self.name_blocks()),
        );
    }

    fn problem(&self, block: Option<Cidr>) -> Option<&'static str> {
        match block {
            None if self.limits_ranges() => Some("is no block such as 192.0.2.1/32"),
            Some(block) if self.settings.forbid_world && cover_the_world(&[block]) => {
                Some("opens the load balancer to the whole world")
            }
            Some(block)
                if !self.allowed.is_empty()
                    && !self.allowed.iter().any(|allowed| allowed.covers(&block)) =>
            {
                Some("is outside the allowed blocks")
            }
            _ => None,
        }
    }

    fn name_blocks(&self) -> String {
        let mut fix = "name the addresses that need it".to_owned();
        for (i, block) in self.settings.allowed_cidrs.iter().enumerate() {
            fix.push_str(if i == 0 { ", inside " } else { " or " });
            fix.push_str(block);
        }
        fix
    }
}

/// Adds a violation for each annotation that voids the ranges.
fn judge_voids(
    review: &Review,
    service: &Service,
    controllers: Option<&[&'static Controller]>,
    verdict: &mut Verdict,
) {
    for voiding in voids(service, review.old_service.as_ref(), controllers) {
        let (row, found) = (voiding.row, voiding.found);
        let message = format!(
            "{} {}, so that source ranges do not certainly hold",
            quote(found),
            row.cause.text()
        );
        let key = format!("sourceRanges:{}", voiding.key());
        let violation = Violation::new("S05", annotation(row.key), message);
        verdict.violations.push(violation.key(key).fix("remove it"));
    }
}

/// Adds a violation where the controllers don't enforce source ranges and ranges are required:
/// ranges without effect are no worse than none. Returns the warnings for ranges that are given.
fn judge_enforcement(
    service: &Service,
    controllers: &[&Controller],
    required: bool,
    verdict: &mut Verdict,
) -> Vec<String> {
    let mut warnings = vec![];
    for controller in controllers {
        let name = controller.name;
        let problem = match controller.enforces(service) {
            Enforces::No if required => {
                let message =
                    format!("source ranges are not enforced by {name} for this load balancer");
                let violation = Violation::new("S05", FIELD, message)
                    .key(format!("sourceRanges:not enforced:{name}"));
                verdict.violations.push(
                    violation.fix("restrict its clients in another way, or use type ClusterIP"),
                );
                continue;
            }
            Enforces::No => format!(
                "{}: source ranges are not enforced by {name} for this load balancer",
                FIELD
            ),
            Enforces::Depends => format!(
                "{}: whether {name} enforces source ranges depends on its settings",
                FIELD
            ),
            Enforces::Yes | Enforces::EachFamily | Enforces::Where(_) => continue,
        };
        warnings.push(problem);
    }
    warnings
}
