//! The keys of annotations and labels that a policy compares, as its description lists them
//! (`compares`).

use wildmatch::WildMatch;

/// Keys, in which `*` stands for any characters; case is ignored.
#[derive(Debug, Clone, Default)]
pub struct Keys(Vec<Key>);

#[derive(Debug, Clone)]
enum Key {
    Exact(String),
    Pattern(WildMatch),
}

impl Keys {
    /// Returns true if a key is among them.
    pub fn contain(&self, key: &str) -> bool {
        self.0.iter().any(|wanted| match wanted {
            Key::Exact(exact) => exact.eq_ignore_ascii_case(key),
            Key::Pattern(pattern) => pattern.matches(key),
        })
    }

    /// Returns true if there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> FromIterator<&'a str> for Keys {
    fn from_iter<I: IntoIterator<Item = &'a str>>(keys: I) -> Self {
        let key = |key: &str| match key.contains('*') {
            true => Key::Pattern(WildMatch::new_case_insensitive(key)),
            false => Key::Exact(key.to_owned()),
        };
        Self(keys.into_iter().map(key).collect())
    }
}

impl Extend<Self> for Keys {
    fn extend<I: IntoIterator<Item = Self>>(&mut self, more: I) {
        self.0.extend(more.into_iter().flat_map(|keys| keys.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_fold_case_and_a_star_stands_for_anything() {
        let keys: Keys = ["example.com/A", "service.beta.kubernetes.io/actions.*"]
            .into_iter()
            .collect();
        assert!(keys.contain("Example.com/a"));
        assert!(keys.contain("service.beta.kubernetes.io/actions.TCP-80"));
        assert!(!keys.contain("example.com/ab"));
        assert!(!Keys::default().contain(""));
    }
}
