//! Verdicts and violations, put together word by word.

use crate::verdict::{SettingsError, Verdict, Violation};

/// The most violations that a verdict lists one by one. Whoever writes a Service may write tens of
/// thousands of addresses, and a violation of each would take more than the 16 MiB of memory and
/// the 4 MiB of output that a policy has by default. The API server stores no Service with more
/// ports, and the host tells only some of them anyway.
pub const MAX_VIOLATIONS: usize = 8192;

impl Violation {
    /// An offence against a rule, in a field (`spec.ports[1].nodePort`), with the value found and
    /// what is allowed. It has no key, so that no update may keep it; see [`Violation::key`].
    pub fn new(rule: &str, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            rule: rule.to_owned(),
            key: String::new(),
            field: field.into(),
            message: message.into(),
            fix: String::new(),
        }
    }

    /// Names the offence independent of its index, with type and value. An update may keep what the
    /// old object has under the same rule and key.
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

    /// The verdict with at most [`MAX_VIOLATIONS`] and the one that says so, where they were
    /// collected in another way.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        if self.violations.len() > MAX_VIOLATIONS + 1 {
            let first = self.violations.swap_remove(MAX_VIOLATIONS);
            self.violations.truncate(MAX_VIOLATIONS);
            self.add(first);
        }
        self
    }

    /// The same, with a warning to the client.
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
    /// A setting that can't be used: its path as the manifest spells it, the value found, what is
    /// allowed.
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
    fn violations_beyond_the_bound_are_summed_up_in_one_that_no_update_keeps() {
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
