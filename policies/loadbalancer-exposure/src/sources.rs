//! S05: from where a load balancer may be reached.
//!
//! The field wins over the annotation, as in the controllers. A range that does not parse lies in no allowed block.

use super::LoadBalancerExposure;
use super::internal::annotation;
use super::settings::RequireSourceRanges;
use sallyport_policy::net::{Cidr, cover_the_world};
use sallyport_policy::prelude::*;

/// The older form of `loadBalancerSourceRanges`.
pub(crate) const ANNOTATION: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";

const FIELD: &str = "spec.loadBalancerSourceRanges";

impl LoadBalancerExposure {
    pub(crate) fn judge_ranges(&self, service: &Service, is_public: bool, verdict: &mut Verdict) {
        let ranges = Ranges::of(service);
        if ranges.texts.is_empty() {
            let required = match self.settings.require_source_ranges {
                RequireSourceRanges::Never => false,
                RequireSourceRanges::UnlessInternal => is_public,
                RequireSourceRanges::Always => true,
            };
            if required {
                let message = "missing, so that the load balancer is open to the whole world";
                self.deny(verdict, FIELD.to_owned(), message.to_owned(), "LoadBalancer:no source ranges".to_owned());
            }
            return;
        }
        let mut blocks = vec![];
        for (i, text) in ranges.texts.iter().enumerate() {
            let block = Cidr::parse(text);
            // What is the world by itself is told by itself; the others may be it together.
            blocks.extend(block.filter(|block| !cover_the_world(&[*block])));
            if let Some(problem) = self.problem(block) {
                self.deny(verdict, ranges.field(i), text![quote(text), " ", problem], text!["sourceRange:", text]);
            }
        }
        if self.settings.forbid_world && cover_the_world(&blocks) {
            let message = "together the ranges open the load balancer to the whole world";
            self.deny(verdict, ranges.root(), message.to_owned(), "sourceRanges:world".to_owned());
        }
    }

    fn deny(&self, verdict: &mut Verdict, field: String, message: String, key: String) {
        verdict.violations.push(Violation::new("S05", field, message).key(key).fix(self.name_blocks()));
    }

    fn problem(&self, block: Option<Cidr>) -> Option<&'static str> {
        match block {
            None if self.settings.forbid_world || !self.allowed.is_empty() => Some("is no block such as 192.0.2.1/32"),
            Some(block) if self.settings.forbid_world && cover_the_world(&[block]) => {
                Some("opens the load balancer to the whole world")
            }
            Some(block) if !self.allowed.is_empty() && !self.allowed.iter().any(|allowed| allowed.covers(&block)) => {
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

/// The ranges that the controller reads.
struct Ranges<'a> {
    texts: Vec<&'a str>,
    by_annotation: bool,
}

impl<'a> Ranges<'a> {
    fn of(service: &'a Service) -> Self {
        let mut texts = vec![];
        for text in &service.spec.load_balancer_source_ranges {
            texts.push(text.trim_ascii());
        }
        let written = service.annotation(ANNOTATION).filter(|_| texts.is_empty());
        let mut rest = written.unwrap_or_default();
        while !rest.is_empty() {
            let end = rest.bytes().position(|byte| byte == b',').unwrap_or(rest.len());
            let text = rest.get(..end).unwrap_or_default().trim_ascii();
            if !text.is_empty() {
                texts.push(text);
            }
            rest = rest.get(end + 1..).unwrap_or_default();
        }
        Self { texts, by_annotation: written.is_some() }
    }

    fn root(&self) -> String {
        if self.by_annotation { annotation(ANNOTATION) } else { FIELD.to_owned() }
    }

    fn field(&self, i: usize) -> String {
        if self.by_annotation { annotation(ANNOTATION) } else { text![FIELD, "[", i, "]"] }
    }
}
