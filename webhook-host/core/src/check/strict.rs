//! Refusals by the API server itself, whatever the policies say: unknown fields, for which `kubectl
//! apply` is strict, and values that its own validation rejects.
//!
//! [`findings`] reports only what every supported version of Kubernetes refuses, and nothing about
//! a Service that does not decode: `admission` reports that (rule S16). `rejection` is the whole
//! answer to one request.

mod rejection;

pub use rejection::{Problem, Rejection};
pub(super) use rejection::{invalid, undecoded};

use super::judge::Judged;
use crate::api_server::{self, Refusal};
use crate::excerpt::cut;
use crate::report::check::{Finding, Level};
use crate::yaml::Located;
use serde_json::Value;

/// The author of these findings, in place of a policy's name.
const API_SERVER: &str = "kubernetes";

/// Bytes of a problem, which may repeat a value of any length. The known fields of a spec fit.
const MAX_PROBLEM: usize = 1024;

/// Returns what the API server refuses in a Service, once the patches of `/mutate` are applied. One
/// that only these bring about says so.
pub(super) fn findings(located: &Located, judged: &Judged) -> Vec<Finding> {
    let old = judged.old.as_deref();
    let unknown = api_server::unknown(&judged.service);
    let written = api_server::refusals(&judged.service, old);
    let Some(patched) = &judged.patched else {
        let all = unknown.into_iter().chain(written);
        let all = all.map(|refusal| finding(refusal, located));
        return all.chain(nulls(located)).collect();
    };
    let patched = api_server::refusals(patched, old).into_iter();
    let patched = patched.map(|refusal| match refusal.is_among(&written) {
        true => finding(refusal, located),
        false => by_patch(finding(refusal, located)),
    });
    let unknown = unknown.into_iter();
    let unknown = unknown.map(|refusal| finding(refusal, located));
    unknown.chain(patched).chain(nulls(located)).collect()
}

/// Warns of nulls in maps of texts: clients make different things of them.
fn nulls(located: &Located) -> impl Iterator<Item = Finding> {
    let service = located.value();
    let of = |map: &'static str, pointer| {
        let pairs = service.pointer(pointer).and_then(Value::as_object);
        let pairs = pairs.into_iter().flatten();
        let nulls = pairs.filter(|(_, value)| value.is_null());
        let fields = nulls.map(move |(key, _)| format!("{map}[{key:?}]"));
        fields.collect::<Vec<_>>()
    };
    let fields = [
        of("metadata.labels", "/metadata/labels"),
        of("spec.selector", "/spec/selector"),
    ];
    fields.into_iter().flatten().map(|field| Finding {
        policy: API_SERVER.to_owned(),
        line: located.line_of(&field),
        field,
        message: "null is an empty text for the API server, but `kubectl apply` leaves the pair \
                  out on its own side"
            .to_owned(),
        fix: "write \"\", or remove the pair".to_owned(),
        ..Finding::empty(Level::Warning)
    })
}

fn by_patch(finding: Finding) -> Finding {
    Finding {
        message: format!("{} (the patch of a policy makes it so)", finding.message),
        ..finding
    }
}

fn finding(refusal: Refusal, located: &Located) -> Finding {
    Finding {
        policy: API_SERVER.to_owned(),
        line: located.line_of(&refusal.field),
        field: refusal.field,
        message: format!(
            "the API server would refuse this: {}",
            cut(&refusal.problem, MAX_PROBLEM)
        ),
        fix: refusal.fix,
        ..Finding::empty(Level::Error)
    }
}
