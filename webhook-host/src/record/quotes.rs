//! A search of texts for the values of a review that a record would hash.

use super::compared::{Compared, Subjects};
use super::place::{Place, keeps};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// Shorter values (`true`) occur in many texts by chance, so only those in quotes are replaced.
pub(super) const MIN_UNQUOTED_LENGTH: usize = 6;

/// The length of the beginning of a value by which a quote is recognised: policies quote only the
/// beginning of long values.
const QUOTE_PREFIX_CHARS: usize = 8;

/// The largest number of values that are searched for in answers. If an object has more, no message
/// is kept, because searching would take too long.
pub(super) const MAX_VALUES: usize = 1000;

/// Returns false if none of the texts quotes a value that a record of this review hashes:
/// [`super::redaction::Redaction::scrub`] would then change nothing. It may return true although
/// `scrub` would change nothing. It takes a fraction of the time, because it neither hashes nor
/// copies.
///
/// # Errors
///
/// Fails when the body nests too deeply for a JSON value.
pub(super) fn may_quote(
    body: &[u8],
    texts: &[&str],
    compared: &Compared,
    subjects: &Subjects,
) -> serde_json::Result<bool> {
    let mut search = Search {
        texts,
        compared,
        subjects,
        place: Place::default(),
        values: 0,
        is_found: false,
    };
    let mut review = serde_json::Deserializer::from_slice(body);
    (&mut search).deserialize(&mut review)?;
    Ok(search.is_found || search.values > MAX_VALUES)
}

/// A search of texts for the values of a review, which is read without a tree.
struct Search<'a> {
    texts: &'a [&'a str],
    compared: &'a Compared,
    subjects: &'a Subjects,
    place: Place,
    /// The number of texts read so far, including those that a record keeps.
    values: usize,
    is_found: bool,
}

impl Search<'_> {
    fn text(&mut self, value: &str) {
        if value.is_empty() {
            return;
        }
        self.values += 1;
        self.is_found |=
            self.is_quoted(value) && !keeps(&self.place, value, self.compared, self.subjects);
    }

    fn number(&mut self, number: &serde_json::Number) {
        let number = number.to_string();
        self.is_found |= self.texts.iter().any(|text| text.contains(&number))
            && !keeps(&self.place, "", self.compared, self.subjects);
    }

    /// Returns true if a text quotes the value, or the beginning of a long one, plain or escaped.
    fn is_quoted(&self, value: &str) -> bool {
        let mut texts = self.texts.iter();
        if value.len() < MIN_UNQUOTED_LENGTH {
            return texts.any(|text| text.contains('"') && text.contains(&format!("{value:?}")));
        }
        let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
        let escaped = (!value.bytes().all(is_plain)).then(|| format!("{value:?}"));
        let escaped = escaped.as_deref().map(|escaped| escaped.trim_matches('"'));
        texts.any(|text| {
            text.contains(beginning(value))
                || escaped.is_some_and(|escaped| text.contains(beginning(escaped)))
        })
    }
}

impl<'de> DeserializeSeed<'de> for &mut Search<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Search<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        self.number(&number.into());
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        self.number(&number.into());
        Ok(())
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        if let Some(number) = serde_json::Number::from_f64(number) {
            self.number(&number);
        }
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.text(text);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<(), A::Error> {
        while values.next_element_seed(&mut *self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(Name(name)) = members.next_key()? {
            let mut place = std::mem::take(&mut self.place);
            let done = place.step(&name, |place| {
                self.place = std::mem::take(place);
                let done = members.next_value_seed(&mut *self);
                *place = std::mem::take(&mut self.place);
                done
            });
            self.place = place;
            done?;
        }
        Ok(())
    }
}

/// The name of a member, borrowed if it has no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Returns the beginning of a value by which a quote is recognised.
pub(super) fn beginning(value: &str) -> &str {
    let end = value.char_indices().nth(QUOTE_PREFIX_CHARS);
    &value[..end.map_or(value.len(), |(end, _)| end)]
}
