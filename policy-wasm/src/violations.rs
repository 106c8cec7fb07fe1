//! Verdicts and violations, put together word by word.

use crate::verdict::{SettingsError, Verdict, Violation};

impl Violation {
    /// An offence against a rule, in a field (`spec.ports[1].nodePort`), with the value found and what is allowed. It has no
    /// key, so that no update may keep it; see [`Violation::key`].
    pub fn new(rule: &str, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            rule: rule.to_owned(),
            key: String::new(),
            field: field.into(),
            message: message.into(),
            fix: String::new(),
        }
    }

    /// Names the offence independent of its index, with type and value. An update may keep what the old object has under
    /// the same rule and key.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = key.into();
        self
    }

    /// What to do about it, as an imperative.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = fix.into();
        self
    }
}

impl Verdict {
    /// No objection.
    pub fn allow() -> Self {
        Self::default()
    }

    /// One violation.
    pub fn deny(violation: Violation) -> Self {
        Self { violations: vec![violation], ..Self::default() }
    }

    /// The same, with a warning to the client.
    #[must_use]
    pub fn warn(mut self, warning: impl Into<String>) -> Self {
        self.warnings.push(warning.into());
        self
    }
}

impl FromIterator<Violation> for Verdict {
    fn from_iter<I: IntoIterator<Item = Violation>>(violations: I) -> Self {
        Self { violations: violations.into_iter().collect(), ..Self::default() }
    }
}

impl SettingsError {
    /// A setting that can't be used: its path as the manifest spells it, the value found, what is allowed.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}
