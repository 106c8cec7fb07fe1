//! Marks: an annotation of the Service, or a label of its namespace.

use sallyport_policy::prelude::*;
use sallyport_policy::review::Namespace;

/// The marks that the settings name.
pub(crate) struct Marks {
    pub(crate) annotation: Option<String>,
    /// Labels of a namespace, each with its values.
    pub(crate) labels: Vec<(String, Vec<String>)>,
    /// A namespace whose labels are not known counts as marked.
    pub(crate) unknown_marks: bool,
}

/// The mark of a Service.
pub(crate) enum Mark<'a> {
    /// The annotation's key and value.
    Annotation(&'a str, &'a str),
    /// The namespace's name, and the label.
    Label(&'a str, &'a str, &'a str),
    /// The namespace's name; its labels are not known.
    Unknown(&'a str),
}

impl Marks {
    pub(crate) fn is_none(&self) -> bool {
        self.annotation.is_none() && self.labels.is_empty()
    }

    /// Returns the annotation that marks a Service. Its key matches without regard to case, because
    /// the match restricts.
    pub(crate) fn annotated<'a>(&self, service: &'a Service) -> Option<(&'a str, &'a str)> {
        let mark = self.annotation.as_deref()?;
        let mut pairs = service.metadata.annotations.iter();
        let (key, value) = pairs.find(|(key, value)| {
            let value = value.trim_ascii();
            let is_off = value.is_empty() || value.eq_ignore_ascii_case("false");
            key.eq_ignore_ascii_case(mark) && !is_off
        })?;
        Some((key, value))
    }

    /// Returns a Service's mark: the annotation, or else the namespace's label.
    pub(crate) fn of<'a>(
        &self,
        service: &'a Service,
        namespace: &'a Namespace,
    ) -> Option<Mark<'a>> {
        if let Some((key, value)) = self.annotated(service) {
            return Some(Mark::Annotation(key, value));
        }
        if let Some((key, value)) = pairs::first_of(&namespace.labels, &self.labels) {
            return Some(Mark::Label(&namespace.name, key, value));
        }
        let is_unknown = !self.labels.is_empty() && !namespace.known && self.unknown_marks;
        is_unknown.then_some(Mark::Unknown(&namespace.name))
    }
}

impl Mark<'_> {
    /// Returns the field of the mark.
    pub(crate) fn field(&self) -> String {
        match self {
            Self::Annotation(key, _) => format!("metadata.annotations[{}]", quote(key)),
            Self::Label(..) | Self::Unknown(_) => "metadata.namespace".to_owned(),
        }
    }

    /// Returns the violation of a protected Service.
    pub(crate) fn violation(&self, field: String, problem: &str) -> Violation {
        let (mark, fix) = match self {
            Self::Annotation(key, value) => (
                format!("annotation {}, {},", quote(key), quote(value)),
                "take the annotation off first, in an update of its own".to_owned(),
            ),
            Self::Label(namespace, key, value) => (
                format!(
                    "label {}, {}, of namespace {}",
                    quote(key),
                    quote(value),
                    quote(namespace)
                ),
                "take the label off the namespace first".to_owned(),
            ),
            Self::Unknown(namespace) => (
                format!(
                    "namespace {}, whose labels are not known,",
                    quote(namespace)
                ),
                "let the host know the namespace's labels, or set onUnknown: allow".to_owned(),
            ),
        };
        let message = format!("{mark} protects the Service: {problem}");
        Violation::new("S18", field, message).fix(fix)
    }
}
