//! Names in settings, checked when a policy is configured.
//!
//! A name that nothing can have (a pattern where names are compared exactly, an upper-case
//! namespace, a blank at an end) is refused, because the setting would silently have no effect.
//! Each check adds to the errors of `configure`, with the setting's path.

use crate::pairs::Wanted;
use crate::{SettingsError, quote};

/// Checks the keys of a setting by namespace: each is a label of RFC 1123, as every namespace's
/// name is.
///
/// ```
/// use sallyport_policy::names;
///
/// let mut errors = vec![];
/// names::namespaces("perNamespace", ["team-a", "team-*"], &mut errors);
/// assert_eq!(errors[0].path, "perNamespace[\"team-*\"]");
/// ```
pub fn namespaces<'a>(
    path: &str,
    names: impl IntoIterator<Item = &'a str>,
    errors: &mut Vec<SettingsError>,
) {
    for name in names {
        if !is_label(name) {
            const PROBLEM: &str = "no namespace can have this name, so that it has no effect; \
                write the names one by one, without patterns";
            errors.push(SettingsError::new(
                format!("{path}[{}]", quote(name)),
                PROBLEM,
            ));
        }
    }
}

/// Checks labels that are wanted: keys and values as Kubernetes admits them.
pub fn labels(path: &str, wanted: &Wanted, errors: &mut Vec<SettingsError>) {
    for (key, values) in wanted {
        if !is_key(key, KeyKind::Label) {
            const PROBLEM: &str = "no label can have this key, so that it has no effect; write it \
                as app.kubernetes.io/name";
            errors.push(SettingsError::new(
                format!("{path}[{}]", quote(key)),
                PROBLEM,
            ));
        }
        for (i, value) in values
            .iter()
            .enumerate()
            .filter(|(_, value)| !is_value(value))
        {
            let problem = format!(
                "{} can be no label's value, so that it has no effect; write values without \
                 patterns",
                quote(value)
            );
            errors.push(SettingsError::new(
                format!("{path}[{}][{i}]", quote(key)),
                problem,
            ));
        }
    }
}

/// Checks the key of an annotation that is compared exactly.
pub fn annotation(path: String, key: &str, errors: &mut Vec<SettingsError>) {
    check_annotation(path, key, is_key(key, KeyKind::Annotation), errors);
}

/// Checks the key of an annotation, in which `*` may stand for any characters.
pub fn annotation_pattern(path: String, key: &str, errors: &mut Vec<SettingsError>) {
    check_annotation(path, key, is_key(key, KeyKind::Pattern), errors);
}

fn check_annotation(path: String, key: &str, is_key: bool, errors: &mut Vec<SettingsError>) {
    if !is_key {
        let problem = format!(
            "{} can be no annotation's key, so that it has no effect; write it as example.com/name",
            quote(key)
        );
        errors.push(SettingsError::new(path, problem));
    }
}

/// Checks classes of load balancers: the API server admits a name as a label's key has it, such as
/// `service.k8s.aws/nlb` or `tailscale`.
pub fn classes(path: &str, classes: &[String], errors: &mut Vec<SettingsError>) {
    for (i, found) in classes.iter().enumerate() {
        class(format!("{path}[{i}]"), found, errors);
    }
}

/// Checks one class of load balancers.
pub fn class(path: String, found: &str, errors: &mut Vec<SettingsError>) {
    if let Some(problem) = inexact(found) {
        errors.push(SettingsError::new(path, problem));
    } else if !is_key(found, KeyKind::Label) {
        let problem = format!(
            "{} can be no loadBalancerClass, so that it has no effect; write it as \
             example.com/name",
            quote(found)
        );
        errors.push(SettingsError::new(path, problem));
    }
}

/// Checks the value of a label, in which `*` may stand for any characters.
pub fn label_value_pattern(path: String, value: &str, errors: &mut Vec<SettingsError>) {
    if !value.is_empty() && !is_name(value, |byte| byte == b'*') {
        let problem = format!(
            "{} can be no label's value, so that it has no effect; correct or remove it",
            quote(value)
        );
        errors.push(SettingsError::new(path, problem));
    }
}

/// Checks texts that are compared exactly: none is empty, has blanks at an end, or a `*`, which
/// would stand for itself.
pub fn exact(path: &str, texts: &[String], errors: &mut Vec<SettingsError>) {
    for (i, found) in texts.iter().enumerate() {
        if let Some(problem) = inexact(found) {
            errors.push(SettingsError::new(format!("{path}[{i}]"), problem));
        }
    }
}

/// Returns why a text that is compared exactly matches nothing.
pub(crate) fn inexact(found: &str) -> Option<String> {
    if found.is_empty() {
        Some("must not be empty; remove it".to_owned())
    } else if found.bytes().any(|byte| byte == b'*') {
        Some(format!(
            "{} is compared exactly, so that it matches nothing; write each without patterns",
            quote(found)
        ))
    } else if has_blanks(found) {
        Some(format!(
            "{} has blanks at an end, so that it matches nothing; remove them",
            quote(found)
        ))
    } else {
        None
    }
}

fn has_blanks(found: &str) -> bool {
    let blank = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_whitespace);
    blank(found.as_bytes().first()) || blank(found.as_bytes().last())
}

/// Returns true for a label of RFC 1123.
pub(crate) fn is_label(found: &str) -> bool {
    let bytes = found.as_bytes();
    let inner = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    let end = |byte: Option<&u8>| byte.is_some_and(|byte| *byte != b'-');
    bytes.len() <= 63 && bytes.iter().all(inner) && end(bytes.first()) && end(bytes.last())
}

/// The object of a key. The API server admits upper case in the prefix of an annotation's alone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum KeyKind {
    Label,
    Annotation,
    /// An annotation's, in which `*` stands for any characters.
    Pattern,
}

/// Returns true for a qualified name: a name of at most 63 characters, or a DNS name, a slash, and
/// such a name.
fn is_key(found: &str, kind: KeyKind) -> bool {
    let (prefix, name) = found.split_once('/').unwrap_or(("a", found));
    let star = |byte: u8| kind == KeyKind::Pattern && byte == b'*';
    let dns = |byte: u8| {
        star(byte)
            || matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.')
            || kind != KeyKind::Label && byte.is_ascii_uppercase()
    };
    !prefix.is_empty() && prefix.len() <= 253 && prefix.bytes().all(dns) && is_name(name, star)
}

fn is_value(found: &str) -> bool {
    found.is_empty() || is_name(found, |_| false)
}

fn is_name(found: &str, also: impl Fn(u8) -> bool) -> bool {
    let bytes = found.as_bytes();
    let end =
        |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || also(*byte));
    let inner = |byte: &u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') || also(*byte)
    };
    bytes.len() <= 63 && bytes.iter().all(inner) && end(bytes.first()) && end(bytes.last())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(check: impl FnOnce(&mut Vec<SettingsError>)) -> Vec<String> {
        let mut errors = vec![];
        check(&mut errors);
        errors.into_iter().map(|error| error.path).collect()
    }

    #[test]
    fn namespaces_are_labels() {
        let long = "x".repeat(64);
        for name in [
            "team-a-*",
            "Team",
            "a.b",
            "",
            "-a",
            "a-",
            "a b",
            "a ",
            long.as_str(),
        ] {
            assert_eq!(
                paths(|errors| namespaces("p", [name], errors)).len(),
                1,
                "{name}"
            );
        }
        assert!(paths(|errors| namespaces("p", ["team-a", "0", &long[..63]], errors)).is_empty());
    }

    #[test]
    fn labels_that_nothing_can_have_are_refused() {
        let check = |key: &str, values: &[&str]| {
            let wanted = [(
                key.to_owned(),
                values.iter().map(|&value| value.to_owned()).collect(),
            )];
            paths(|errors| labels("labels", &wanted, errors))
        };
        for key in ["app.kubernetes.io/name", "tier", "Tier_1", "a/b.c"] {
            assert!(check(key, &["", "Data-Base_1.0"]).is_empty(), "{key}");
        }
        for key in [
            "",
            "a b",
            "app.kubernetes.io/*",
            "App.kubernetes.io/name",
            "a/b/c",
            "/a",
            "a/",
            "-a",
        ] {
            assert_eq!(check(key, &[]).len(), 1, "{key}");
        }
        assert_eq!(
            check("tier", &["db", "data*", "db "]),
            ["labels[\"tier\"][1]", "labels[\"tier\"][2]"]
        );
    }

    #[test]
    fn keys_of_annotations_may_be_patterns() {
        let check = |key: &str| paths(|errors| annotation_pattern("key".to_owned(), key, errors));
        for key in [
            "tailscale.com/*",
            "*",
            "*/expose",
            "Tailscale.com/Expose",
            "plain",
        ] {
            assert!(check(key).is_empty(), "{key}");
        }
        for key in ["a b", "a/b ", "a: b", "a/b/c"] {
            assert_eq!(check(key), ["key"], "{key}");
        }
        let exact = |key: &str| paths(|errors| annotation("key".to_owned(), key, errors));
        assert!(exact("Tailscale.com/Expose").is_empty() && exact("plain").is_empty());
        for key in ["tailscale.com/*", "", "a/b/c", "\u{441}ost"] {
            assert_eq!(exact(key), ["key"], "{key}");
        }
    }

    #[test]
    fn classes_and_patterns_of_values_are_what_kubernetes_admits() {
        let class = |text: &str| paths(|errors| class("c".to_owned(), text, errors));
        for text in [
            "service.k8s.aws/nlb",
            "tailscale",
            "io.cilium/node",
            "a/B_c",
        ] {
            assert!(class(text).is_empty(), "{text}");
        }
        for text in [
            "",
            "bad class",
            "tailscale ",
            "a/b/c",
            "A.b/c",
            "-x",
            "a/",
            "/a",
            "a/*",
        ] {
            assert_eq!(class(text), ["c"], "{text}");
        }
        let value = |text: &str| paths(|errors| label_value_pattern("v".to_owned(), text, errors));
        for text in ["", "true", "tr*", "*"] {
            assert!(value(text).is_empty(), "{text}");
        }
        for text in ["a b", "true ", "-x"] {
            assert_eq!(value(text), ["v"], "{text}");
        }
    }

    #[test]
    fn texts_that_are_compared_exactly_are_whole() {
        let texts = ["ccm", "", "a*", " a", "a\n", "a b"].map(str::to_owned);
        assert_eq!(
            paths(|errors| exact("t", &texts, errors)),
            ["t[1]", "t[2]", "t[3]", "t[4]"]
        );
    }
}
