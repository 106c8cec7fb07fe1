//! Patterns in settings: `*` stands for any characters, everything else for itself, without regard
//! to ASCII case.

/// Returns true if a pattern matches the whole text.
///
/// ```
/// use sallyport_policy::glob;
///
/// assert!(glob::matches("tailscale.com/*", "Tailscale.com/expose"));
/// assert!(glob::matches("*exposed_ports*", r#"{"exposed_ports":{"80":{}}}"#));
/// assert!(!glob::matches("expose", "exposed"));
/// ```
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where to resume if the text after the last star does not fit: the pattern behind the star,
    // and one character further in the text.
    let mut retry = None;
    while let Some(found) = text.get(t) {
        match pattern.get(p) {
            Some(b'*') => {
                p += 1;
                retry = Some((p, t));
            }
            Some(wanted) if wanted.eq_ignore_ascii_case(found) => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((behind, from)) = retry else {
                    return false;
                };
                (p, t) = (behind, from + 1);
                retry = Some((behind, t));
            }
        }
    }
    pattern.iter().skip(p).all(|rest| *rest == b'*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_stand_for_anything_and_the_ends_are_anchored() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("*", "", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "abcbc", true),
            ("a*b*c", "abcb", false),
            ("*ab", "aab", true),
            ("**", "x", true),
            ("a", "", false),
            ("A/B", "a/b", true),
            ("a?", "ab", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
