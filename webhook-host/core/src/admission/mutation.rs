//! Composes the patches of several policies: each policy sees the object as patched so far, and a
//! patch that doesn't apply is dropped as a whole.
//!
//! A patch that would make the API server answer 500 never leaves the host: every operation is
//! applied here first.

use super::request::AdmissionRequest;
use super::subject::Subject;
use crate::contract::service::Service;
use crate::contract::verdict::{PatchOperation, PatchValue};
use crate::excerpt::excerpt;
use crate::policy::EvaluationError;
use crate::service;
use json_patch::Patch;
use serde_json::{Value, json};

/// The parts of an object that a patch may touch. Status and managedFields are others' to write.
const WRITABLE: [&str; 3] = ["/spec", "/metadata/labels", "/metadata/annotations"];

/// The object as patched so far, and the operations that were applied.
pub(super) struct Patched<'a> {
    request: &'a AdmissionRequest<'a>,
    /// Parsed when the first patch comes.
    object: Option<Value>,
    operations: Vec<Value>,
}

/// An object after one more patch, which fits.
pub(super) struct Attempt {
    object: Value,
    service: Service,
    operations: Vec<Value>,
}

impl<'a> Patched<'a> {
    pub(super) fn new(request: &'a AdmissionRequest<'a>) -> Self {
        Self {
            request,
            object: None,
            operations: vec![],
        }
    }

    /// Applies one policy's patch, all of it or nothing.
    pub(super) fn apply(
        &mut self,
        subject: &mut Subject,
        patch: Vec<PatchOperation>,
    ) -> Result<(), EvaluationError> {
        if let Some(Attempt {
            object,
            service,
            operations,
        }) = self.attempt(patch)?
        {
            subject.replace(service, &object);
            self.object = Some(object);
            self.operations.extend(operations);
        }
        Ok(())
    }

    /// Tries a patch; `None` when it does nothing.
    pub(super) fn attempt(
        &self,
        patch: Vec<PatchOperation>,
    ) -> Result<Option<Attempt>, EvaluationError> {
        if patch.is_empty() {
            return Ok(None);
        }
        let operations = patch
            .into_iter()
            .map(to_json)
            .collect::<Result<Vec<_>, _>>()?;
        let mut object = match &self.object {
            Some(object) => object.clone(),
            None => self.parse()?,
        };
        let operations = [complete(&object, &operations), operations].concat();
        let patch: Patch = serde_json::from_value(operations.clone().into())
            .map_err(|error| answer("its patch is no JSON Patch", error))?;
        json_patch::patch(&mut object, &patch)
            .map_err(|error| answer("its patch doesn't fit the object", error))?;
        let service = service::from_value(&object)
            .map_err(|error| answer("its patch makes the object malformed", error))?;
        Ok(Some(Attempt {
            object,
            service,
            operations,
        }))
    }

    fn parse(&self) -> Result<Value, EvaluationError> {
        let raw = self.request.object.map_or("null", |object| object.get());
        serde_json::from_str(raw).map_err(|error| answer("the object can't be patched", error))
    }

    /// Returns the JSON Patch for the API server, if there is anything to do.
    pub(super) fn into_text(self) -> Option<String> {
        (!self.operations.is_empty()).then(|| Value::from(self.operations).to_string())
    }
}

/// Returns an operation that adds `metadata`, if a patch writes to it and a raw object has none.
/// Policies see an absent `metadata` as an empty one.
fn complete(object: &Value, operations: &[Value]) -> Vec<Value> {
    let is_missing = object.get("metadata").is_none_or(Value::is_null);
    let writes = |operation: &Value| {
        operation["path"]
            .as_str()
            .is_some_and(|path| path.starts_with("/metadata/"))
    };
    let add = || json!({"op": "add", "path": "/metadata", "value": {}});
    (is_missing && operations.iter().any(writes))
        .then(add)
        .into_iter()
        .collect()
}

/// Converts an operation to RFC 6902.
pub(super) fn to_json(operation: PatchOperation) -> Result<Value, EvaluationError> {
    let (op, PatchValue { path, value }) = match operation {
        PatchOperation::Add(value) => ("add", value),
        PatchOperation::Replace(value) => ("replace", value),
        PatchOperation::Remove(path) => {
            check_path(&path)?;
            return Ok(json!({"op": "remove", "path": path}));
        }
    };
    check_path(&path)?;
    let value: Value = serde_json::from_str(&value).map_err(|error| {
        answer(
            &format!("the value for {} is no JSON", excerpt(&path)),
            error,
        )
    })?;
    Ok(json!({"op": op, "path": path, "value": value}))
}

fn check_path(path: &str) -> Result<(), EvaluationError> {
    let below = |root: &str| {
        path.strip_prefix(root)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if WRITABLE.into_iter().any(below) {
        return Ok(());
    }
    let (path, writable) = (excerpt(path), WRITABLE.join(", "));
    Err(EvaluationError::Answer(format!(
        "its patch touches {path:?}; a patch may touch only {writable}"
    )))
}

/// Makes the error for an answer that can't be used. Parser errors quote the patch, so they are
/// cut.
fn answer(problem: &str, error: impl std::fmt::Display) -> EvaluationError {
    EvaluationError::Answer(format!("{problem}: {}", excerpt(&error.to_string())))
}
