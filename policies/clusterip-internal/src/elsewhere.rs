//! Annotations that lead a Service's traffic to other Services than its selector does.
//!
//! The labels of those Services are not looked at, so that names and ports in the annotation tell:
//! each word of its value is compared, whatever syntax the controller reads. What tells nothing is
//! worth a warning.

use super::settings::Settings;
use super::signals::is_known_word;
use sallyport_facts::forwarding::FORWARDING;
use sallyport_policy::glob;
use sallyport_policy::prelude::*;
use std::str;

/// An annotation that leads elsewhere.
pub(crate) struct Elsewhere<'a> {
    pub(crate) key: &'a str,
    pub(crate) value: &'a str,
    /// The part that marks an internal backend, if any.
    pub(crate) found: Option<String>,
}

impl<'a> Elsewhere<'a> {
    pub(crate) fn all(settings: &Settings, service: &'a Service) -> Vec<Self> {
        let mut all = vec![];
        for (key, value) in &service.metadata.annotations {
            if FORWARDING.iter().any(|row| glob::matches(row.key, key)) {
                all.push(Self {
                    key,
                    value,
                    found: backend(settings, value),
                });
            }
        }
        all
    }

    /// `metadata.annotations["example.com/key"]`.
    pub(crate) fn field(&self) -> String {
        format!("metadata.annotations[{}]", quote(self.key))
    }
}

/// The first word that marks an internal backend: a strict port, or a name, also as a part between
/// dashes (`shop-postgresql-hl`). An escape could hide one.
fn backend(settings: &Settings, value: &str) -> Option<String> {
    let is_of_word = |byte: &u8| byte.is_ascii_alphanumeric();
    for word in value.as_bytes().split(|byte| !is_of_word(byte)) {
        let text = str::from_utf8(word).unwrap_or_default();
        if number(word).is_some_and(|number| settings.ports.strict.contains(&number)) {
            return Some(format!("the annotation leads to port {text}"));
        }
        if is_known_word(settings, word) {
            return Some(format!("the annotation leads to {}", quote(text)));
        }
    }
    let bytes = value.as_bytes();
    let has_escape = bytes
        .windows(2)
        .any(|pair| matches!(pair, [b'\\', b'u' | b'U' | b'x']));
    has_escape.then(|| "the annotation hides in escapes where it leads".to_owned())
}

/// A port's number, without allocation: a value can have hundreds of thousands of words.
fn number(word: &[u8]) -> Option<u16> {
    let mut number = 0_u16;
    for byte in word {
        let digit = byte.is_ascii_digit().then_some(u16::from(byte & 15))?;
        number = number.checked_mul(10)?.checked_add(digit)?;
    }
    Some(number)
}
