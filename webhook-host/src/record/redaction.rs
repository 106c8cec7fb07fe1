//! Hashing of the free-form texts of a review before it is recorded.
//!
//! A Service holds texts that nobody meant to publish: a password in an annotation, a customer's
//! name in a label. A record keeps the fields of [`KEPT`], the texts that decide about the review
//! ([`Compared`], [`Subjects`]), and the keys of all objects. Every other text and number is
//! replaced by its hash, also where a policy quotes it. A kept text that looks like a credential is
//! hashed too.
//!
//! Equal values have equal hashes within one file, so that a selector still selects its Pods, and a
//! field that an update doesn't change stays unchanged. The hash is an HMAC whose key is made for
//! each file and never written, so nobody can test guesses against it.

use super::compared::{Compared, Subjects};
use super::credential;
use super::kept::{KEPT, OBJECT};
use ring::hmac;
use ring::rand::SystemRandom;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

/// The prefix of every hash.
pub const HASHED: &str = "hashed-";

/// The replacement of a text that could quote too many values to search for.
const REMOVED: &str = "removed";

/// The bytes of an HMAC-SHA256 that are kept: enough to distinguish the values of one file.
const HASH_BYTES: usize = 8;

/// Shorter values (`true`) occur in many texts by chance, so only those in quotes are replaced.
const MIN_UNQUOTED_LENGTH: usize = 6;

/// The length of the beginning of a value by which a quote is recognised: policies quote only the
/// beginning of long values.
const QUOTE_PREFIX_CHARS: usize = 8;

/// The largest number of values that are searched for in answers. If an object has more, no message
/// is kept, because searching would take too long.
const MAX_VALUES: usize = 1000;

/// The members of an answer that quote no values.
const STRUCTURE: [&str; 8] = [
    "rule", "reason", "field", "policy", "digest", "kind", "op", "path",
];

/// A key for the hashes of one file.
#[derive(Debug, Clone)]
pub struct HashKey(hmac::Key);

impl HashKey {
    /// Makes a random key.
    ///
    /// # Errors
    ///
    /// Fails when the system has no random numbers.
    pub fn random() -> std::io::Result<Self> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        key.map(Self)
            .map_err(|_| std::io::Error::other("the system's source of random numbers failed"))
    }

    /// Returns a number of 48 bits in place of another one.
    fn number(&self, number: &str) -> u64 {
        let tag = hmac::sign(&self.0, number.as_bytes());
        tag.as_ref()
            .iter()
            .take(6)
            .fold(0, |bits, byte| (bits << 8) | u64::from(*byte))
    }

    /// Returns the hash of a text: `hashed-` and 16 hexadecimal digits.
    pub(super) fn hash(&self, text: &str) -> String {
        let mut hash = HASHED.to_owned();
        for byte in hmac::sign(&self.0, text.as_bytes())
            .as_ref()
            .iter()
            .take(HASH_BYTES)
        {
            let _ = write!(hash, "{byte:02x}");
        }
        hash
    }
}

/// The redaction of one review.
#[derive(Debug)]
pub(super) struct Redaction<'a> {
    key: &'a HashKey,
    compared: &'a Compared,
    subjects: &'a Subjects,
    /// JSON Pointers (RFC 6901) into the AdmissionReview.
    pub(super) pointers: Vec<String>,
    /// The hashes by value.
    hashes: BTreeMap<String, String>,
    /// The replacements of numbers.
    numbers: BTreeMap<String, String>,
    /// The texts that the record keeps, so that messages may quote them.
    kept: BTreeSet<String>,
}

impl<'a> Redaction<'a> {
    /// Hashes the free-form texts of an AdmissionReview.
    pub(super) fn of(
        review: &mut Value,
        key: &'a HashKey,
        compared: &'a Compared,
        subjects: &'a Subjects,
    ) -> Self {
        let mut redaction = Self {
            key,
            compared,
            subjects,
            pointers: vec![],
            hashes: BTreeMap::new(),
            numbers: BTreeMap::new(),
            kept: BTreeSet::new(),
        };
        // A webhook configuration with too many rules may send Secrets, so nothing of an object
        // that is no Service is kept.
        if !is_service(&review["request"]) {
            for member in ["object", "oldObject"] {
                let place = format!("/request/{member}");
                if let Some(object) = review
                    .pointer_mut(&place)
                    .filter(|object| !object.is_null())
                {
                    *object = Value::Null;
                    redaction.pointers.push(place);
                }
            }
        }
        redaction.walk(review, &mut Place::default());
        redaction
    }

    fn walk(&mut self, value: &mut Value, place: &mut Place) {
        match value {
            Value::Null => {}
            Value::Array(values) => {
                for (index, value) in values.iter_mut().enumerate() {
                    place.element(index, |place| self.walk(value, place));
                }
            }
            Value::Object(members) => {
                for (name, value) in members {
                    place.member(name, |place| self.walk(value, place));
                }
            }
            Value::String(text) if text.is_empty() => {}
            Value::String(text) if self.keeps(place, text) => {
                self.kept.insert(text.clone());
            }
            Value::Number(_) if self.keeps(place, "") => {}
            scalar => self.hide(scalar, place),
        }
    }

    fn keeps(&self, place: &Place, text: &str) -> bool {
        keeps(place, text, self.compared, self.subjects)
    }

    /// Replaces a text by its hash, and a number by one made from its hash, so that a malformed
    /// field stays malformed. Booleans are no secrets.
    fn hide(&mut self, scalar: &mut Value, place: &Place) {
        let hidden = match scalar {
            Value::String(text) => self.hash(text).into(),
            Value::Number(number) => {
                let number = number.to_string();
                let hidden = self.key.number(&number);
                self.numbers.insert(number, hidden.to_string());
                hidden.into()
            }
            _ => return,
        };
        *scalar = hidden;
        self.pointers.push(place.pointer.clone());
    }

    /// Returns the hash of a text, and hides the text in answers from now on.
    fn hash(&mut self, text: &str) -> String {
        self.hashes
            .entry(text.to_owned())
            .or_insert_with(|| self.key.hash(text))
            .clone()
    }

    /// Hashes labels or annotations of the inventory at a place of the record.
    pub(super) fn texts(
        &mut self,
        place: &str,
        texts: &mut BTreeMap<String, String>,
        is_compared: fn(&Compared, &str) -> bool,
    ) {
        for (key, value) in texts {
            if value.is_empty()
                || is_compared(self.compared, key) && !credential::looks_like_one(value)
            {
                continue;
            }
            *value = self.hash(value);
            let pointer = format!("{place}/{}", escaped(key));
            if !self.pointers.contains(&pointer) {
                self.pointers.push(pointer);
            }
        }
    }

    /// Hides hashed values in an answer: in messages, warnings and patches.
    pub(super) fn scrub(&self, value: &mut Value) {
        match value {
            Value::String(text) if self.hashes.len() > MAX_VALUES => REMOVED.clone_into(text),
            Value::String(text) => self.scrub_text(text),
            Value::Array(values) => values.iter_mut().for_each(|value| self.scrub(value)),
            Value::Object(members) => {
                let values = members
                    .iter_mut()
                    .filter(|(name, _)| !STRUCTURE.contains(&name.as_str()));
                values.for_each(|(_, value)| self.scrub(value));
            }
            _ => {}
        }
    }

    fn scrub_text(&self, text: &mut String) {
        for (value, hash) in self
            .hashes
            .iter()
            .filter(|(value, _)| !self.kept.contains(*value))
        {
            // The form in a message that escapes what it quotes.
            let quoted = format!("{value:?}");
            if value.len() < MIN_UNQUOTED_LENGTH {
                *text = text.replace(&quoted, &format!("{hash:?}"));
            } else {
                self.hide_in(text, value, hash);
                let escaped = quoted.trim_matches('"');
                if escaped != value {
                    self.hide_in(text, escaped, hash);
                }
            }
        }
        for (number, hidden) in &self.numbers {
            *text = replace_number(text, number, hidden);
        }
    }
}

impl Redaction<'_> {
    /// Replaces every quote of a value or of its beginning. A quote that is also part of a kept
    /// text is left alone.
    fn hide_in(&self, text: &mut String, value: &str, hash: &str) {
        let begin = beginning(value);
        let mut from = 0;
        while let Some(found) = text[from..].find(begin).map(|found| from + found) {
            let alike = text[found..]
                .chars()
                .zip(value.chars())
                .take_while(|(a, b)| a == b);
            let length: usize = alike.map(|(c, _)| c.len_utf8()).sum();
            let quoted = &text[found..found + length];
            if self.kept.iter().any(|kept| kept.contains(quoted)) {
                from = found + length;
                continue;
            }
            text.replace_range(found..found + length, hash);
            from = found + hash.len();
        }
    }
}

/// Returns true if a record keeps the text at a place of the review.
fn keeps(place: &Place, text: &str, compared: &Compared, subjects: &Subjects) -> bool {
    let (parent, name) = (place.parent(), place.name());
    let decides = match parent {
        "object/metadata/annotations" => {
            // The annotation with the manifest as it was applied repeats everything.
            (compared.annotation(name) || subjects.annotation(name))
                && !credential::is_named_like_one(name)
        }
        "object/metadata/labels" | "object/spec/selector" => compared.label(name),
        "object/spec" if name == "externalName" => compared.external_name(),
        "object/status/conditions" if name == "message" => compared.condition_messages(),
        "request/userInfo" if name == "uid" => compared.user_uid(),
        "request/userInfo/extra" => {
            compared.user_extra(name) && !credential::is_named_like_one(name)
        }
        "request/userInfo" if matches!(name, "username" | "groups") => {
            return keeps_user(text, compared.user(), subjects);
        }
        // Names may look like credentials, and records are found by them.
        "request" | "object/metadata" if matches!(name, "name" | "namespace" | "uid") => {
            return true;
        }
        _ => KEPT
            .iter()
            .any(|(path, members)| *path == parent && members.contains(&name)),
    };
    decides && !credential::looks_like_one(text)
}

/// A place in the review.
#[derive(Debug, Default)]
struct Place {
    /// The path as in [`KEPT`]: `object/spec/ports/name`.
    path: String,
    /// The position in the path where its last member begins.
    name: usize,
    /// The JSON Pointer.
    pointer: String,
}

impl Place {
    fn parent(&self) -> &str {
        self.path[..self.name].trim_end_matches('/')
    }

    fn name(&self) -> &str {
        &self.path[self.name..]
    }

    fn element(&mut self, index: usize, then: impl FnOnce(&mut Self)) {
        let end = self.pointer.len();
        let _ = write!(self.pointer, "/{index}");
        then(self);
        self.pointer.truncate(end);
    }

    fn member(&mut self, name: &str, then: impl FnOnce(&mut Self)) {
        let pointer = self.pointer.len();
        let _ = write!(self.pointer, "/{}", escaped(name));
        self.step(name, then);
        self.pointer.truncate(pointer);
    }

    /// Goes to a member and back, without its pointer.
    fn step<T>(&mut self, name: &str, then: impl FnOnce(&mut Self) -> T) -> T {
        let (begin, end) = (self.name, self.path.len());
        let done = if self.path == "request" && matches!(name, "object" | "oldObject") {
            let outer = std::mem::replace(&mut self.path, OBJECT.to_owned());
            self.name = 0;
            let done = then(self);
            self.path = outer;
            done
        } else {
            if end > 0 {
                self.path.push('/');
            }
            self.name = self.path.len();
            self.path.push_str(name);
            let done = then(self);
            self.path.truncate(end);
            done
        };
        self.name = begin;
        done
    }
}

/// Returns false if none of the texts quotes a value that a record of this review hashes, so that
/// [`Redaction::scrub`] would leave them as they are. May return true where it would, too. Takes a
/// fraction of the time, because nothing is hashed or copied.
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
    /// The texts so far, those included that a record keeps.
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

    /// Returns true if a text has the value, or the beginning of a long one, in either form.
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
fn beginning(value: &str) -> &str {
    let end = value.char_indices().nth(QUOTE_PREFIX_CHARS);
    &value[..end.map_or(value.len(), |(end, _)| end)]
}

/// Returns true if the name of a user or group stays as it is: it is Kubernetes' own, an exemption
/// names it, or a policy compares names (`is_compared`). One that looks like a credential never
/// stays.
pub(super) fn keeps_user(name: &str, is_compared: bool, subjects: &Subjects) -> bool {
    (is_compared || is_built_in(name) || subjects.name(name)) && !credential::looks_like_one(name)
}

/// Returns true for users and groups of Kubernetes' own, service accounts included.
fn is_built_in(name: &str) -> bool {
    name.starts_with("system:")
}

/// Returns true if the objects of a request are core/v1 Services, or their status.
fn is_service(request: &Value) -> bool {
    let text = |pointer| {
        request
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    [
        text("/kind/group"),
        text("/kind/version"),
        text("/kind/kind"),
    ] == ["", "v1", "Service"]
        && matches!(text("/subResource"), "" | "status")
}

/// Replaces a number where it is not part of a word or another number.
fn replace_number(text: &str, number: &str, hidden: &str) -> String {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-');
    let (mut replaced, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find(number) {
        let (before, found) = rest.split_at(at);
        let after = &found[number.len()..];
        replaced.push_str(before);
        let stands_alone = !before.ends_with(is_part) && !after.starts_with(char::is_alphanumeric);
        replaced.push_str(if stands_alone { hidden } else { number });
        rest = after;
    }
    replaced + rest
}

/// Escapes a key for a JSON Pointer.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn key() -> HashKey {
        HashKey::random().expect("random numbers")
    }

    fn review(object: &Value) -> Value {
        json!({"request": {
            "uid": "1", "name": "web", "namespace": "shop", "operation": "CREATE",
            "kind": {"group": "", "version": "v1", "kind": "Service"},
            "userInfo": {"username": "jane@example.com",
                "groups": ["system:authenticated", "customer-7"],
                "extra": {"scopes": ["one", "two-of-them"]}},
            "object": object, "oldObject": null,
        }})
    }

    #[test]
    fn a_text_that_is_not_searched_for_values_would_stay_as_it_is() {
        let review = review(&json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "web", "labels": {"customer": "acme", "n": "ab"},
                "annotations": {"note": "door code 1234", "tab": "one\ttwo-and-three",
                    "ü": "ünïcode"}},
            "spec": {"ports": [{"port": 80, "nodePort": 29999, "unknown": 4711, "half": 1.5}]},
        }));
        let (compared, subjects, key) = (Compared::default(), Subjects::default(), key());
        let body = review.to_string();
        let redaction = Redaction::of(&mut review.clone(), &key, &compared, &subjects);
        let mut quoted = 0;
        for text in [
            "NodePort:TCP:29999",
            "a=door code 1234",
            "a=door code 9",
            "acme",
            "\"acme\"",
            "ab",
            "\"ab\"",
            "port 4711",
            "4711s",
            "1.5",
            "one\ttwo-and-three",
            "one\\ttwo-and",
            "ünïcode",
            "jane@example.com",
            "system:authenticated",
            "web",
            "shop",
            "customer-7",
            "two-of-them",
            "",
        ] {
            let mut scrubbed = Value::from(text);
            redaction.scrub(&mut scrubbed);
            let found = may_quote(body.as_bytes(), &[text], &compared, &subjects).expect("JSON");
            assert!(found || scrubbed == text, "{text}: {scrubbed}");
            quoted += usize::from(found);
        }
        assert_eq!(quoted, 13);
    }

    #[test]
    fn whatever_is_not_known_to_be_harmless_is_hashed_and_its_place_is_named() {
        let mut review = review(&json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "web", "labels": {"customer": "acme"},
                "annotations": {"note": "door code 1234"}},
            "spec": {
                "type": "ClusterIP", "selector": {"app": "acme"},
                "externalName": "db.acme.example", "pin": 1234,
                "ports": [{"port": 80, "name": "http", "comment": "acme"}],
            },
            "data": {"password": "aHVudGVyMg=="},
        }));
        let (key, compared, subjects) = (key(), Compared::default(), Subjects::default());
        let redaction = Redaction::of(&mut review, &key, &compared, &subjects);
        let mut expected = [
            "/request/userInfo/username",
            "/request/userInfo/groups/1",
            "/request/userInfo/extra/scopes/0",
            "/request/userInfo/extra/scopes/1",
            "/request/object/metadata/labels/customer",
            "/request/object/metadata/annotations/note",
            "/request/object/spec/selector/app",
            "/request/object/spec/externalName",
            "/request/object/spec/pin",
            "/request/object/spec/ports/0/comment",
            "/request/object/data/password",
        ];
        let mut found = redaction.pointers.clone();
        found.sort();
        expected.sort_unstable();
        assert_eq!(found, expected);
        let object = &review["request"]["object"];
        assert_eq!(
            object["metadata"]["labels"]["customer"], object["spec"]["selector"]["app"],
            "equal stays equal"
        );
        assert_eq!(object["spec"]["ports"][0]["name"], "http");
        assert_eq!(
            review["request"]["userInfo"]["groups"][0],
            "system:authenticated"
        );
        let text = review.to_string();
        for secret in [
            "acme",
            "1234",
            "jane",
            "customer-7",
            "aHVudGVyMg",
            "two-of-them",
        ] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
    }

    #[test]
    fn an_answer_does_not_quote_what_was_hashed() {
        let mut review = review(
            &json!({"metadata": {"annotations": {"a": "hunter22-hunter22", "b": "db\n1"}},
            "spec": {"type": "NodePort"}}),
        );
        review["request"]["object"]["metadata"]["labels"] = json!({"type": "NodePort"});
        let (key, compared, subjects) = (key(), Compared::default(), Subjects::default());
        let redaction = Redaction::of(&mut review, &key, &compared, &subjects);
        let [long, short] = ["hunter22-hunter22", "db\n1"].map(|text| key.hash(text));
        let mut answer = json!([{"field": "hunter22", "key": "NodePort:1",
            "message": "found \"hunter22-hun…\""}, "\"db\\n1\""]);
        redaction.scrub(&mut answer);
        let expected = json!([
            {"field": "hunter22", "key": "NodePort:1", "message": format!("found \"{long}…\"")},
            format!("\"{short}\""),
        ]);
        assert_eq!(answer, expected);
    }

    #[test]
    fn a_number_stays_a_number_and_no_answer_quotes_it() {
        let mut review = review(&json!({"metadata": {"labels": {"pin": 4711}}}));
        let (key, compared, subjects) = (key(), Compared::default(), Subjects::default());
        let redaction = Redaction::of(&mut review, &key, &compared, &subjects);
        let hidden = &review["request"]["object"]["metadata"]["labels"]["pin"];
        assert!(hidden.is_u64() && hidden != &json!(4711), "{hidden}");
        let mut answer = json!("labels.pin: expected string, found integer 4711, not 14711");
        redaction.scrub(&mut answer);
        assert_eq!(
            answer,
            json!(format!(
                "labels.pin: expected string, found integer {hidden}, not 14711"
            ))
        );
    }

    #[test]
    fn an_object_that_is_no_service_is_not_recorded() {
        let secret = json!({"kind": "Secret", "data": {"a": "aHVudGVyMg=="}});
        let kind = json!({"group": "", "version": "v1", "kind": "Secret"});
        let mut review = json!({"request": {"kind": kind, "operation": "DELETE", "object": null,
            "oldObject": secret}});
        let (key, compared, subjects) = (key(), Compared::default(), Subjects::default());
        let redaction = Redaction::of(&mut review, &key, &compared, &subjects);
        assert_eq!(redaction.pointers, ["/request/oldObject"]);
        assert_eq!(review["request"]["oldObject"], Value::Null);
    }

    #[test]
    fn of_an_object_full_of_hashed_texts_no_message_is_kept() {
        let annotations = (0..=MAX_VALUES)
            .map(|number| (format!("key-{number}"), json!(format!("value-{number}"))));
        let annotations: serde_json::Map<_, _> = annotations.collect();
        let mut review = review(&json!({"metadata": {"annotations": annotations}}));
        let (key, compared, subjects) = (key(), Compared::default(), Subjects::default());
        let redaction = Redaction::of(&mut review, &key, &compared, &subjects);
        let mut answer = json!({"rule": "S10", "message": "found nothing"});
        redaction.scrub(&mut answer);
        assert_eq!(answer, json!({"rule": "S10", "message": REMOVED}));
    }

    #[test]
    fn another_file_has_other_hashes() {
        assert_ne!(key().hash("web"), key().hash("web"));
    }
}
