//! Patterns in settings: `*` stands for any characters, everything else for itself.

/// Returns true if a pattern matches the whole text, without regard to ASCII case.
///
/// ```
/// use sallyport_policy::glob;
///
/// assert!(glob::matches("tailscale.com/*", "Tailscale.com/expose"));
/// assert!(glob::matches("*exposed_ports*", r#"{"exposed_ports":{"80":{}}}"#));
/// assert!(!glob::matches("expose", "exposed"));
/// ```
pub fn matches(pattern: &str, text: &str) -> bool {
    fits(pattern, text, |wanted, found| {
        wanted.eq_ignore_ascii_case(found)
    })
}

/// Returns true if a pattern matches the whole text in its exact case: for patterns that permit.
///
/// ```
/// use sallyport_policy::glob;
///
/// assert!(glob::matches_exactly("CC-*", "CC-4711") && !glob::matches_exactly("CC-*", "cc-4711"));
/// ```
pub fn matches_exactly(pattern: &str, text: &str) -> bool {
    fits(pattern, text, |wanted, found| wanted == found)
}

fn fits(pattern: &str, text: &str, is_same: fn(&u8, &u8) -> bool) -> bool {
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
            Some(wanted) if is_same(wanted, found) => {
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
