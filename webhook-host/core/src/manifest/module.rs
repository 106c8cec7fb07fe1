//! `spec.module` of a ServicePolicy: where the component is.

use super::names::bare_file_name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the component is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Module {
    /// A bare file name inside the directory of the policies.
    #[serde(deserialize_with = "bare_file_name")]
    #[schemars(with = "String", length(max = 255), extend("x-kubernetes-validations" = [{
        "rule": "self != '' && !self.startsWith('.') && !self.contains('/') && \
         !self.contains('\\\\')",
        "message": "this is no bare file name; name a file in the directory of the policies, such \
         as policy.wasm",
    }]))]
    pub file: String,
}
