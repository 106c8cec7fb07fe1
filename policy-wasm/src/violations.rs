//! Builders for [`Verdict`] and [`Violation`].

use crate::verdict::{SettingsError, Verdict, Violation};

/// The number of violations that a verdict lists. A Service may have tens of thousands of
/// addresses, and a violation for each would take more than the 16 MiB of memory and the 4 MiB of
/// output that a policy has by default. The API server stores no Service with more ports, and the
/// host shows only some violations.
pub const MAX_VIOLATIONS: usize = 8192;

impl Violation {
    /// Makes a violation of a rule, in a field (`spec.ports[1].nodePort`), with a message that
    /// names the value found and what is allowed. It has no key, so that no update may keep it; see
    /// [`Violation::key`].
    pub fn new(rule: &str, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            rule: rule.to_owned(),
            key: String::new(),
            field: field.into(),
            message: message.into(),
            fix: String::new(),
        }
    }

    /// Sets the key, which names the violation by its content, such as type and value, and not by
    /// an index. An update may keep a violation that the old object has under the same rule and
    /// key.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = key.into();
        self
    }

    /// Adds the fix, as an imperative.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = fix.into();
        self
    }
}

impl Verdict {
    /// Returns a verdict without violations.
    pub fn allow() -> Self {
        Self::default()
    }

    /// Returns a verdict with one violation.
    pub fn deny(violation: Violation) -> Self {
        Self {
            violations: vec![violation],
            ..Self::default()
        }
    }

    /// Adds a violation. Returns false, and adds nothing, once there are [`MAX_VIOLATIONS`]: then
    /// the last one says so. It has no key, so that no update may keep what is not listed.
    pub fn add(&mut self, violation: Violation) -> bool {
        match MAX_VIOLATIONS.checked_sub(self.violations.len()) {
            None => return false,
            Some(0) => {
                let message = "and whatever follows is not listed: there are too many violations";
                self.violations.push(Violation {
                    key: String::new(),
                    message: message.to_owned(),
                    ..violation
                });
                return false;
            }
            Some(_) => self.violations.push(violation),
        }
        true
    }

    /// Cuts a verdict to [`MAX_VIOLATIONS`] and one that says so, for violations that were not
    /// added by [`Verdict::add`].
    #[must_use]
    pub fn bounded(mut self) -> Self {
        if self.violations.len() > MAX_VIOLATIONS + 1 {
            let first = self.violations.swap_remove(MAX_VIOLATIONS);
            self.violations.truncate(MAX_VIOLATIONS);
            self.add(first);
        }
        self
    }

    /// Adds a warning to the client.
    #[must_use]
    pub fn warn(mut self, warning: impl Into<String>) -> Self {
        self.warnings.push(warning.into());
        self
    }
}

impl FromIterator<Violation> for Verdict {
    /// Takes violations until there are [`MAX_VIOLATIONS`], as [`Verdict::add`] does.
    fn from_iter<I: IntoIterator<Item = Violation>>(violations: I) -> Self {
        let mut verdict = Self::default();
        for violation in violations {
            if !verdict.add(violation) {
                break;
            }
        }
        verdict
    }
}

impl SettingsError {
    /// Makes an error of a setting's path as the manifest spells it, and a message with the value
    /// found and what is allowed.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn violations_beyond_the_bound_become_one_without_a_key() {
        let many = |count: usize| {
            (0..count)
                .map(|_| Violation::new("X", "f", "bad").key("k"))
                .collect::<Verdict>()
        };
        assert!(
            many(MAX_VIOLATIONS)
                .violations
                .iter()
                .all(|violation| violation.key == "k")
        );
        let verdict = many(MAX_VIOLATIONS + 10);
        assert_eq!(verdict.violations.len(), MAX_VIOLATIONS + 1);
        assert_eq!(
            verdict
                .violations
                .last()
                .map(|violation| violation.key.as_str()),
            Some("")
        );
        let violations = vec![verdict.violations[0].clone(); MAX_VIOLATIONS + 10];
        assert_eq!(
            Verdict {
                violations,
                ..Verdict::default()
            }
            .bounded(),
            verdict
        );
    }
}
