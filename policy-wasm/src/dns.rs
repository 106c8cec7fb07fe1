//! Domain names, compared as DNS does: by labels, without regard to case.
//!
//! A *normal* name is in lower case and has no final dot ([`normal`]).

use crate::quote;

/// Returns a name without its final dot, in lower case.
pub fn normal(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// Returns true if a normal name is the domain or below it.
pub fn is_in(name: &str, domain: &str) -> bool {
    name == domain || is_below(name, domain)
}

/// Returns true if a normal name is below the domain, at the boundary of a label.
pub fn is_below(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain)
        .is_some_and(|rest| rest.ends_with('.'))
}

/// Returns the text after the last dot.
pub fn last_label(name: &str) -> &[u8] {
    name.as_bytes()
        .rsplit(|byte| *byte == b'.')
        .next()
        .unwrap_or_default()
}

/// Returns true if some resolver takes the name for an IP address: IPv6, which alone has colons, or
/// a name whose last label is a number, decimal or hexadecimal. `127.1`, `0x7f.1` and `2130706433`
/// are 127.0.0.1 to inet_aton, and to every browser (the URL standard's "ends in a number"). No
/// host's name ends so, because no such top-level domain exists (RFC 3696).
pub fn is_address(name: &str) -> bool {
    name.contains(':') || is_number(last_label(name))
}

fn is_number(label: &[u8]) -> bool {
    match label {
        [b'0', b'x', digits @ ..] => digits.iter().all(u8::is_ascii_hexdigit),
        [_, ..] => label.iter().all(u8::is_ascii_digit),
        [] => false,
    }
}

/// Returns true if every label of a normal name has only letters, digits, `-` and `_`, no `-` at an
/// end, and at most 63 of them.
pub fn is_valid(name: &str) -> bool {
    let of_host = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    name.as_bytes().split(|byte| *byte == b'.').all(|label| {
        let ends_well = label.first() != Some(&b'-') && label.last() != Some(&b'-');
        matches!(label.len(), 1..=63) && ends_well && label.iter().all(of_host)
    })
}

/// A suffix of names in settings: `.example.com` is every name below example.com, `example.com`
/// that name, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suffix {
    /// In lower case, without dots around it.
    pub domain: String,
    /// The domain's own name has the suffix, too.
    pub itself: bool,
}

impl Suffix {
    /// Parses a suffix.
    ///
    /// ```
    /// use sallyport_policy::dns::Suffix;
    ///
    /// let below = Suffix::parse(".example.com").expect("a suffix");
    /// assert!(below.matches("a.example.com") && !below.matches("example.com"));
    /// assert!(Suffix::parse("*.example.com").is_err());
    /// ```
    ///
    /// # Errors
    ///
    /// The text is no domain name; the message says what to write.
    pub fn parse(text: &str) -> Result<Self, String> {
        let name = normal(text);
        let (domain, itself) = match name.strip_prefix('.') {
            Some(domain) => (domain.to_owned(), false),
            None => (name, true),
        };
        if !is_valid(&domain) {
            let shown = quote(text);
            return Err(format!(
                "{shown} is no suffix; use .example.com, or example.com for that name itself, too"
            ));
        }
        Ok(Self { domain, itself })
    }

    /// Returns true if a normal name has the suffix.
    pub fn matches(&self, name: &str) -> bool {
        is_below(name, &self.domain) || self.itself && name == self.domain
    }

    /// Returns the suffix as a message shows it.
    pub fn text(&self) -> String {
        quote(&format!(
            "{}{}",
            if self.itself { "" } else { "." },
            self.domain
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_match_at_the_boundary_of_a_label() {
        assert!(is_in("a.example.com", "example.com") && is_in("example.com", "example.com"));
        assert!(
            is_below("a.example.com", "example.com") && !is_below("example.com", "example.com")
        );
        for name in ["evilexample.com", "example.com.evil.io", "com", ""] {
            assert!(!is_in(name, "example.com"), "{name}");
        }
    }

    #[test]
    fn addresses_are_recognised_in_every_spelling() {
        for name in [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f.1",
            "0x7f000001",
            "017700000001",
            "0177.0.0.1",
            "1.2.3.0x4",
            "0x",
            "::1",
            "[::1]",
            "fe80::1%eth0",
            "::ffff:10.0.0.1",
            "256.256.256.256",
            "a.10",
        ] {
            assert!(is_address(name), "{name}");
        }
        for name in [
            "10.0.0.1.example.com",
            "a1.b2",
            "0xg",
            "x0",
            "1a",
            "example.com",
            "deadbeef",
            "",
        ] {
            assert!(!is_address(name), "{name}");
        }
    }

    #[test]
    fn names_are_normal_without_the_final_dot() {
        assert_eq!(normal("Kubernetes.Default.SVC."), "kubernetes.default.svc");
        assert!(
            is_valid("a-1.b_c")
                && !is_valid("")
                && !is_valid("a..b")
                && !is_valid("*.a")
                && !is_valid("a.")
        );
    }
}
