//! The variables of an evaluation: what the API server would give an admission policy.
//!
//! Objects are parsed before the first expression, everything else when it is used. As in
//! Kubernetes, a field that is empty is absent from `request` and `namespaceObject`.

use crate::MAX_STEPS;
use crate::compile::{Reads, Rules};
use sallyport_cel::json::{Document, JsonError};
use sallyport_cel::{Budget, EvalError, Value, Variables, kubernetes};
use sallyport_policy::prelude::*;
use sallyport_policy::review::Resource;
use std::cell::{OnceCell, RefCell};

/// The objects of a review, parsed.
pub(crate) struct Objects<'a> {
    object: Option<Document<'a>>,
    old_object: Option<Document<'a>>,
}

impl<'a> Objects<'a> {
    /// Parses the objects of a review. On a deletion the object is the old one, as in Kubernetes.
    pub(crate) fn of(review: &'a Review) -> Result<Self, JsonError> {
        let parse = |text: &'a Option<String>| text.as_deref().map(Document::parse).transpose();
        let object = parse(&review.object)?;
        if review.operation == Operation::Delete {
            return Ok(Self {
                object: None,
                old_object: object,
            });
        }
        Ok(Self {
            object,
            old_object: parse(&review.old_object)?,
        })
    }

    /// Replaces the object by a patched one.
    pub(crate) fn with_object<'b>(&'b self, object: Document<'b>) -> Patched<'b>
    where
        'a: 'b,
    {
        Patched {
            object,
            old_object: self.old_object.as_ref(),
        }
    }
}

/// A patched object beside the old one.
pub(crate) struct Patched<'b> {
    object: Document<'b>,
    old_object: Option<&'b Document<'b>>,
}

/// The variables of an evaluation.
pub(crate) struct Context<'a> {
    rules: &'a Rules,
    review: &'a Review,
    pub(crate) object: Value<'a>,
    old_object: Value<'a>,
    request: OnceCell<Value<'a>>,
    namespace: OnceCell<Result<Value<'a>, EvalError>>,
    /// The values of `variables` that have been evaluated.
    composed: RefCell<Vec<Option<Result<Value<'a>, EvalError>>>>,
    pub(crate) budget: &'a Budget,
}

/// Makes the budget of one evaluation.
pub(crate) fn budget() -> Budget {
    Budget::new(MAX_STEPS)
}

fn root<'a>(document: Option<&'a Document<'a>>) -> Value<'a> {
    document.map_or(Value::Null, |document| document.root().into())
}

impl<'a> Context<'a> {
    pub(crate) fn new(
        rules: &'a Rules,
        review: &'a Review,
        objects: &'a Objects<'a>,
        budget: &'a Budget,
    ) -> Self {
        let object = root(objects.object.as_ref());
        Self::of(
            rules,
            review,
            object,
            root(objects.old_object.as_ref()),
            budget,
        )
    }

    pub(crate) fn patched(
        rules: &'a Rules,
        review: &'a Review,
        patched: &'a Patched<'a>,
        budget: &'a Budget,
    ) -> Self {
        let object = root(Some(&patched.object));
        Self::of(rules, review, object, root(patched.old_object), budget)
    }

    fn of(
        rules: &'a Rules,
        review: &'a Review,
        object: Value<'a>,
        old_object: Value<'a>,
        budget: &'a Budget,
    ) -> Self {
        Self {
            rules,
            review,
            object,
            old_object,
            request: OnceCell::new(),
            namespace: OnceCell::new(),
            composed: RefCell::new(vec![None; rules.variables.len()]),
            budget,
        }
    }
}

impl<'a> Variables<'a> for Context<'a> {
    fn global(&self, index: usize) -> Result<Value<'a>, EvalError> {
        match index {
            kubernetes::OBJECT => Ok(self.object.clone()),
            kubernetes::OLD_OBJECT => Ok(self.old_object.clone()),
            kubernetes::REQUEST => Ok(self.request.get_or_init(|| request(self.review)).clone()),
            kubernetes::NAMESPACE_OBJECT => self
                .namespace
                .get_or_init(|| namespace(self.review, self.rules.reads))
                .clone(),
            _ => Ok(self.rules.params.root().into()),
        }
    }

    fn composed(&self, index: usize) -> Result<Value<'a>, EvalError> {
        if let Some(known) = &self.composed.borrow()[index] {
            return known.clone();
        }
        let variable = &self.rules.variables[index];
        let value = variable.expression.program.evaluate(self, self.budget);
        let value = value.map_err(|error| {
            error.with_message(format!(
                "composited variable {:?} fails to evaluate: {error}",
                variable.name
            ))
        });
        self.composed.borrow_mut()[index] = Some(value.clone());
        value
    }
}

/// Entries of a map of which the empty ones are left out.
struct Fields<'a>(Vec<(&'a str, Value<'a>)>);

impl<'a> Fields<'a> {
    fn text(mut self, name: &'a str, text: &'a str) -> Self {
        if !text.is_empty() {
            self.0.push((name, text.into()));
        }
        self
    }

    fn value(mut self, name: &'a str, value: impl Into<Option<Value<'a>>>) -> Self {
        self.0.extend(value.into().map(|value| (name, value)));
        self
    }

    fn finish(self) -> Value<'a> {
        self.0.into_iter().collect()
    }
}

fn fields<'a>() -> Fields<'a> {
    Fields(Vec::with_capacity(12))
}

fn texts<'a>(texts: &'a [String]) -> Option<Value<'a>> {
    let values = texts.iter().map(|text| Value::from(text.as_str()));
    (!texts.is_empty()).then(|| values.collect::<Vec<_>>().into())
}

fn pairs<'a>(pairs: &'a [(String, String)]) -> Option<Value<'a>> {
    let entries = pairs
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str().into()));
    (!pairs.is_empty()).then(|| entries.collect())
}

fn request(review: &Review) -> Value<'_> {
    let kind = || {
        let fields = fields().value("group", Value::from(""));
        fields
            .text("version", "v1")
            .text("kind", "Service")
            .finish()
    };
    let resource = || {
        let fields = fields().value("group", Value::from(""));
        fields
            .text("version", "v1")
            .text("resource", "services")
            .finish()
    };
    let sub_resource = match review.resource {
        Resource::Services => "",
        Resource::ServicesStatus => "status",
    };
    let operation = match review.operation {
        Operation::Create => "CREATE",
        Operation::Update => "UPDATE",
        Operation::Delete => "DELETE",
    };
    fields()
        .value("kind", kind())
        .value("resource", resource())
        .text("subResource", sub_resource)
        .value("requestKind", kind())
        .value("requestResource", resource())
        .text("requestSubResource", sub_resource)
        .text("name", &review.service.metadata.name)
        .text("namespace", &review.service.metadata.namespace)
        .text("operation", operation)
        .value("userInfo", user(review))
        .value("dryRun", Value::Bool(review.dry_run))
        .finish()
}

fn user(review: &Review) -> Value<'_> {
    let user = &review.user;
    let extra = user.extra.iter();
    let extra = extra.map(|(key, values)| {
        let values = values.iter().map(|value| Value::from(value.as_str()));
        (key.as_str(), values.collect::<Vec<_>>().into())
    });
    let extra: Option<Value<'_>> = (!user.extra.is_empty()).then(|| extra.collect());
    fields()
        .text("username", &user.name)
        .text("uid", user.uid.as_deref().unwrap_or_default())
        .value("groups", texts(&user.groups))
        .value("extra", extra)
        .finish()
}

/// Returns the namespace, of which labels and annotations may not be known. An expression that
/// reads what is not known has no value.
fn namespace(review: &Review, reads: Reads) -> Result<Value<'_>, EvalError> {
    let namespace = &review.namespace;
    let unknown = |what: &str| {
        Err(EvalError::of(format!(
            "the {what} of namespace {} are not known",
            quote(&namespace.name)
        )))
    };
    if reads.labels && !namespace.known {
        return unknown("labels");
    }
    if reads.annotations && namespace.annotations.is_none() {
        return unknown("annotations");
    }
    let annotations = namespace.annotations.as_deref().and_then(pairs);
    let metadata = fields()
        .text("name", &namespace.name)
        .value("labels", pairs(&namespace.labels))
        .value("annotations", annotations)
        .finish();
    Ok(fields().value("metadata", metadata).finish())
}
