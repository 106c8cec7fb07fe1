//! `spec.candidate` of a ServicePolicy: a next version, tried on real requests before it may decide
//! any.
//!
//! A candidate has the name of its policy and differs only in what its manifest states here. It
//! never decides: a serving host asks it after the answer was given, and suites and checks do not
//! ask it.

use super::module::Module;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The part of a policy that its next version changes. Mode, match, updates and limits are the live
/// policy's.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "Written")]
pub struct Candidate {
    /// Another component.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module: Option<Module>,
    /// Other settings, laid over the component's defaults and not over the live policy's settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings: Option<Map<String, Value>>,
}

/// The part of a policy that its next version changes. Mode, match, updates and limits are the live
/// policy's.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Candidate", extend("x-kubernetes-validations" = [{
    "rule": "has(self.module) || has(self.settings)",
    "message": "it would be the same as the live policy; state module, settings, or both",
}]))]
pub(super) struct Written {
    /// Another component.
    #[serde(default)]
    module: Option<Module>,
    /// Other settings, laid over the component's defaults and not over the live policy's settings.
    #[serde(default)]
    #[schemars(schema_with = "crate::schema::settings")]
    settings: Option<Map<String, Value>>,
}

impl TryFrom<Written> for Candidate {
    type Error = &'static str;

    fn try_from(Written { module, settings }: Written) -> Result<Self, &'static str> {
        if module.is_none() && settings.is_none() {
            return Err("it would be the same as the live policy; state module, settings, or both");
        }
        Ok(Self { module, settings })
    }
}

#[cfg(test)]
mod tests {
    use crate::manifest::ServicePolicy;
    use serde_json::{Value, json};

    fn manifest(candidate: &Value) -> Result<ServicePolicy, String> {
        let value = json!({
            "apiVersion": "sallyport.dev/v1alpha1", "kind": "ServicePolicy",
            "metadata": {"name": "p"},
            "spec": {"module": {"file": "p.wasm"}, "mode": "Warn", "settings": {"a": 1},
                "candidate": candidate},
        });
        ServicePolicy::from_value(&value).map_err(|error| error.to_string())
    }

    #[test]
    fn what_a_candidate_does_not_state_is_as_in_the_live_policy() {
        let of = |candidate: Value| manifest(&candidate).expect("valid").split();
        let (live, next) = of(json!({"module": {"file": "next.wasm"}}));
        let next = next.expect("a candidate").spec;
        assert_eq!(
            (next.module.to_string(), &next.settings),
            ("next.wasm".to_owned(), &live.spec.settings)
        );
        assert_eq!(next.mode, live.spec.mode);
        let next = of(json!({"settings": {}})).1.expect("a candidate").spec;
        assert_eq!(
            (next.module.to_string(), next.settings.len()),
            ("p.wasm".to_owned(), 0)
        );
        assert!(live.spec.candidate.is_none() && next.candidate.is_none());
    }

    #[test]
    fn a_candidate_states_something_and_nothing_unknown() {
        assert_eq!(
            manifest(&json!({})).expect_err("empty"),
            "spec.candidate: it would be the same as the live policy; state module, settings, or \
             both"
        );
        let error = manifest(&json!({"module": {"file": "../p.wasm"}})).expect_err("a path");
        assert!(error.starts_with("spec.candidate.module.file: "), "{error}");
        let error = manifest(&json!({"limits": {}})).expect_err("limits are the live policy's");
        assert_eq!(
            error,
            r#"spec.candidate: unknown key "limits"; known keys: module, settings"#
        );
    }
}
