//! The challenge of a registry that answers 401: the header `WWW-Authenticate` (RFC 9110, and the
//! token protocol of distribution).

use std::collections::BTreeMap;

/// A demand for credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    /// A token, from the server `realm`.
    Bearer {
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
}

impl Challenge {
    /// Reads one value of the header; returns `None` for an unknown scheme.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let mut parameters = parameters(rest);
        Some(Self::Bearer {
            realm: parameters.remove("realm")?,
            service: parameters.remove("service"),
            scope: parameters.remove("scope"),
        })
    }
}

/// Reads `key="value", key=value`. Quoted values may hold commas, and quotes after a backslash.
fn parameters(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut rest = text.chars().peekable();
    loop {
        let key: String = take_while(&mut rest, |c| c != '=')
            .trim()
            .trim_matches(',')
            .trim()
            .into();
        if rest.next().is_none() {
            return found;
        }
        let value = if rest.next_if_eq(&'"').is_some() {
            let mut value = String::new();
            while let Some(c) = rest.next().filter(|c| *c != '"') {
                value.push(if c == '\\' {
                    rest.next().unwrap_or(c)
                } else {
                    c
                });
            }
            value
        } else {
            take_while(&mut rest, |c| c != ',').trim().to_owned()
        };
        found.insert(key.to_ascii_lowercase(), value);
    }
}

fn take_while(
    rest: &mut std::iter::Peekable<std::str::Chars<'_>>,
    belongs: impl Fn(char) -> bool,
) -> String {
    std::iter::from_fn(|| rest.next_if(|c| belongs(*c))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| {
            Some(Challenge::Bearer {
                realm: realm.to_owned(),
                service: service.map(str::to_owned),
                scope: scope.map(str::to_owned),
            })
        };
        for (text, expected) in [
            ("Basic realm=\"x\"", Some(Challenge::Basic)),
            ("basic", Some(Challenge::Basic)),
            (
                r#"Bearer realm="https://a/token",service="s",scope="repository:a/b:pull,push""#,
                bearer(
                    "https://a/token",
                    Some("s"),
                    Some("repository:a/b:pull,push"),
                ),
            ),
            (
                r#"bearer Realm="https://a/\"token", service=s"#,
                bearer("https://a/\"token", Some("s"), None),
            ),
            ("Bearer service=\"s\"", None),
            ("Negotiate", None),
            ("", None),
        ] {
            assert_eq!(Challenge::parse(text), expected, "{text}");
        }
    }
}
