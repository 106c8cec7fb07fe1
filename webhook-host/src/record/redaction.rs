//! Hashing of the free-form texts of a review before it is recorded.
//!
//! A Service holds texts that nobody meant to publish: a password in an annotation, a customer's
//! name in a label. A record keeps the fields of [`super::kept::KEPT`], the texts that decide
//! about the review ([`Compared`], [`Subjects`]), and the keys of all objects. Every other text
//! and number is replaced by its hash, also where a policy quotes it. A kept text that looks like a
//! credential is hashed too.
//!
//! Equal values have equal hashes within one file, so that a selector still selects its Pods, and a
//! field that an update doesn't change stays unchanged. The hash is an HMAC whose key is made for
//! each file and never written, so nobody can test guesses against it.

use super::compared::{Compared, Subjects};
use super::credential;
use super::hash_key::HashKey;
use super::place::{Place, escaped, keeps};
use super::quotes::{MAX_VALUES, MIN_UNQUOTED_LENGTH, beginning};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The replacement of a text that could quote too many values to search for.
const REMOVED: &str = "removed";

/// The members of an answer that quote no values.
const STRUCTURE: [&str; 8] = [
    "rule", "reason", "field", "policy", "digest", "kind", "op", "path",
];

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

#[cfg(test)]
mod tests {
    use super::super::quotes::may_quote;
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
}
