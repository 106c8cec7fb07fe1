//! What looks like a credential never reaches the record.
//!
//! Annotations are where credentials end up in a Service: pasted by hand, or as a copy of the whole manifest. Values are
//! replaced, keys stay, so that policies see the same annotations. Rather too much than too little; the record names each place.
//! The tables below are the whole of it, and `docs/operations.md` shows them.

use serde_json::Value;

/// What stands where something was.
pub const REDACTED: &str = "<redacted>";

/// A copy of the manifest as it was applied, with all its annotations.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Words that make a credential of an annotation by its key, and of a value by an assignment in it (`password=…`, `"token": …`).
/// Compared in lower case and without `-`, `_` and `.`.
const WORDS: [&str; 13] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "credential",
    "apikey",
    "privatekey",
    "accesskey",
    "authkey",
    "bearer",
    "authorization",
    "cookie",
];

/// How tokens of widely used services begin, and how many characters follow at least.
const TOKENS: [(&str, usize); 20] = [
    ("ghp_", 16),
    ("gho_", 16),
    ("ghu_", 16),
    ("ghs_", 16),
    ("github_pat_", 16),
    ("glpat-", 16),
    ("xoxb-", 8),
    ("xoxp-", 8),
    ("xoxa-", 8),
    ("AKIA", 16),
    ("ASIA", 16),
    ("AIza", 24),
    ("sk-", 16),
    ("sk_live_", 8),
    ("rk_live_", 8),
    ("hvs.", 16),
    ("dop_v1_", 16),
    ("tskey-", 8),
    ("npm_", 24),
    ("eyJ", 24),
];

/// What an Authorization header's value begins with.
const SCHEMES: [&str; 2] = ["bearer ", "basic "];

/// The end of a PEM header of any private key.
const PEM: &str = "PRIVATE KEY-----";

/// Characters of a secret that make a text suspicious that quotes it: policies quote the beginning of long values.
const QUOTED: usize = 8;

/// Shorter secrets (`true`) would be found in every text.
const SHORTEST: usize = 6;

/// Secrets that are looked for. Of an object that has more, no message is kept: looking would take too long.
const MOST: usize = 1000;

/// Members of an answer that quote no values.
const STRUCTURE: [&str; 8] = ["rule", "reason", "field", "policy", "digest", "kind", "op", "path"];

/// What was taken out of a review.
#[derive(Debug, Default)]
pub(super) struct Redaction {
    /// JSON Pointers (RFC 6901) into the AdmissionReview.
    pub(super) pointers: Vec<String>,
    secrets: Vec<String>,
}

impl Redaction {
    /// Takes credentials out of an AdmissionReview.
    pub(super) fn of(review: &mut Value) -> Self {
        let mut redaction = Self::default();
        let is_service = is_service(&review["request"]);
        for member in ["object", "oldObject"] {
            let place = format!("/request/{member}");
            let Some(object) = review.pointer_mut(&place).filter(|object| !object.is_null()) else { continue };
            if is_service {
                redaction.take_from(object, &place);
            } else {
                // A webhook configuration that sends too much may send Secrets.
                *object = Value::Null;
                redaction.pointers.push(place);
            }
        }
        if let Some(extra) = review.pointer_mut("/request/userInfo/extra").and_then(Value::as_object_mut) {
            for (key, value) in extra {
                // No policy sees them, so none can quote them.
                *value = REDACTED.into();
                redaction.pointers.push(format!("/request/userInfo/extra/{}", escaped(key)));
            }
        }
        redaction
    }

    fn take_from(&mut self, object: &mut Value, place: &str) {
        let Some(annotations) = object.pointer_mut("/metadata/annotations") else { return };
        let place = format!("{place}/metadata/annotations");
        let Value::Object(annotations) = annotations else {
            // Not what an API server sends: whatever it is, nobody needs it.
            if !annotations.is_null() {
                self.take(annotations, place);
            }
            return;
        };
        for (key, value) in annotations {
            let text = value.as_str();
            if key == LAST_APPLIED || is_named_like_one(key) || text.is_none_or(looks_like_one) {
                self.take(value, format!("{place}/{}", escaped(key)));
            }
        }
    }

    fn take(&mut self, value: &mut Value, pointer: String) {
        let taken = std::mem::replace(value, REDACTED.into());
        self.pointers.push(pointer);
        self.remember(taken);
    }

    fn remember(&mut self, taken: Value) {
        match taken {
            Value::String(secret) if secret.len() >= SHORTEST => {
                // As a message that escapes what it quotes has it.
                let quoted = format!("{secret:?}").trim_matches('"').to_owned();
                self.secrets.extend((quoted != secret).then_some(quoted));
                self.secrets.push(secret);
            }
            Value::Array(values) => values.into_iter().for_each(|value| self.remember(value)),
            Value::Object(values) => values.into_iter().for_each(|(_, value)| self.remember(value)),
            _ => {}
        }
    }

    /// Takes out what quotes a secret: a message, a warning, a patch.
    pub(super) fn scrub(&self, value: &mut Value) {
        match value {
            Value::String(text) if self.secrets.len() > MOST => REDACTED.clone_into(text),
            Value::String(text) => self.secrets.iter().for_each(|secret| hide(text, secret)),
            Value::Array(values) => values.iter_mut().for_each(|value| self.scrub(value)),
            Value::Object(members) => {
                let values = members.iter_mut().filter(|(name, _)| !STRUCTURE.contains(&name.as_str()));
                values.for_each(|(_, value)| self.scrub(value));
            }
            _ => {}
        }
    }
}

/// Whether the objects of a request are core/v1 Services, or their status.
fn is_service(request: &Value) -> bool {
    let text = |pointer| request.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    [text("/kind/group"), text("/kind/version"), text("/kind/kind")] == ["", "v1", "Service"]
        && matches!(text("/subResource"), "" | "status")
}

/// Replaces every place where a text has the beginning of a secret, as far as it goes.
fn hide(text: &mut String, secret: &str) {
    let end = secret.char_indices().nth(QUOTED).map_or(secret.len(), |(end, _)| end);
    let begin = &secret[..end];
    let mut from = 0;
    while let Some(found) = text[from..].find(begin).map(|found| from + found) {
        let alike = text[found..].chars().zip(secret.chars()).take_while(|(a, b)| a == b);
        let length: usize = alike.map(|(c, _)| c.len_utf8()).sum();
        text.replace_range(found..found + length, REDACTED);
        from = found + REDACTED.len();
    }
}

fn is_named_like_one(key: &str) -> bool {
    let plain = plain(key);
    WORDS.iter().any(|word| plain.contains(word))
}

fn plain(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, '-' | '_' | '.')).map(|c| c.to_ascii_lowercase()).collect()
}

fn looks_like_one(value: &str) -> bool {
    let words =
        || value.split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | ';' | '=' | ':' | '/' | '@'));
    value.contains(PEM)
        || words().any(is_token)
        || has_user_information(value)
        || is_authorization(value)
        || assigns(value)
}

fn is_token(word: &str) -> bool {
    TOKENS.iter().any(|(begin, least)| word.strip_prefix(begin).is_some_and(|rest| rest.len() >= *least))
}

/// `scheme://user:password@host`.
fn has_user_information(value: &str) -> bool {
    value.split("://").skip(1).any(|rest| {
        let authority = rest.split(|c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\'' | ',')).next();
        authority.and_then(|authority| authority.rsplit_once('@')).is_some_and(|(user, _)| user.contains(':'))
    })
}

fn is_authorization(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    SCHEMES.iter().any(|scheme| {
        lower.match_indices(scheme).any(|(at, _)| {
            let stands_alone = !lower[..at].ends_with(|c: char| c.is_ascii_alphanumeric());
            let rest = lower[at + scheme.len()..].split(char::is_whitespace).next().unwrap_or_default();
            stands_alone && rest.len() >= QUOTED
        })
    })
}

/// `password=x`, `"token": "x"`, `secret: x`.
fn assigns(value: &str) -> bool {
    value.match_indices(['=', ':']).any(|(at, _)| {
        let name = value[..at].trim_end_matches(['"', '\'', ' ', '\\']);
        let name = name.rsplit(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))).next();
        let assigned = value[at + 1..].trim_start_matches(['"', '\'', ' ', '\\']);
        let is_path = assigned.starts_with("//");
        !assigned.is_empty() && !is_path && name.is_some_and(is_named_like_one)
    })
}

/// A key as a step of a JSON Pointer.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_of_credentials_are_recognised() {
        for value in [
            "-----BEGIN RSA PRIVATE KEY-----\nMIIE",
            "postgres://app:hunter2@db/x",
            "Bearer abcdefgh12345678",
            "Authorization: basic dXNlcjpwYXNz",
            "ghp_0123456789abcdef0123",
            "key AKIAIOSFODNN7EXAMPLE",
            "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxIn0.sig",
            "user=x;password=hunter2",
            r#"{"apiKey": "x"}"#,
            "client_secret: x",
        ] {
            assert!(looks_like_one(value), "{value}");
        }
    }

    #[test]
    fn what_policies_read_is_none() {
        for value in [
            "true",
            "internal",
            "10.0.0.0/8,192.0.2.0/24",
            r#"{"0":{"type":"ingress"}}"#,
            "https://example.com/a:b@c",
            "2026-01-01T12:00:00Z; the load balancer is down",
            "subnet-0123456789abcdef0",
            "arn:aws:acm:eu-1:1:certificate/x",
            "basic",
            "tcp:80",
        ] {
            assert!(!looks_like_one(value), "{value}");
        }
        for key in ["service.beta.kubernetes.io/aws-load-balancer-internal", "sallyport.dev/break-glass"] {
            assert!(!is_named_like_one(key), "{key}");
        }
    }

    #[test]
    fn a_credential_is_taken_out_wherever_it_stands_and_its_place_is_named() {
        let annotations = json!({"example.com/api-token": "hunter22-hunter22", "kept": "true", LAST_APPLIED: "{}"});
        let mut review = json!({"request": {
            "kind": {"group": "", "version": "v1", "kind": "Service"},
            "userInfo": {"username": "jane", "extra": {"scopes": ["one", "two-of-them"]}},
            "object": {"metadata": {"annotations": annotations}}, "oldObject": null,
        }});
        let redaction = Redaction::of(&mut review);
        let expected = [
            "/request/object/metadata/annotations/example.com~1api-token",
            "/request/object/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration",
            "/request/userInfo/extra/scopes",
        ];
        assert_eq!(redaction.pointers, expected);
        assert_eq!(review["request"]["object"]["metadata"]["annotations"]["kept"], "true");
        let mut answer = json!([{"field": "hunter22", "message": "found \"hunter22-hun…\""}, "hunter2 alone"]);
        redaction.scrub(&mut answer);
        assert_eq!(answer, json!([{"field": "hunter22", "message": "found \"<redacted>…\""}, "hunter2 alone"]));
    }

    #[test]
    fn an_object_that_is_no_service_is_not_recorded() {
        let secret = json!({"kind": "Secret", "data": {"a": "aHVudGVyMg=="}});
        let kind = json!({"group": "", "version": "v1", "kind": "Secret"});
        let mut review = json!({"request": {"kind": kind, "operation": "DELETE", "object": null, "oldObject": secret}});
        let redaction = Redaction::of(&mut review);
        assert_eq!(redaction.pointers, ["/request/oldObject"]);
        assert_eq!(review["request"]["oldObject"], Value::Null);
    }

    #[test]
    fn of_an_object_full_of_credentials_no_message_is_kept() {
        let annotations = (0..=MOST).map(|number| (format!("token-{number}"), json!(format!("value-{number}"))));
        let annotations: serde_json::Map<_, _> = annotations.collect();
        let kind = json!({"group": "", "version": "v1", "kind": "Service"});
        let mut review = json!({"request": {"kind": kind, "object": {"metadata": {"annotations": annotations}}}});
        let redaction = Redaction::of(&mut review);
        let mut answer = json!({"rule": "S10", "message": "found nothing"});
        redaction.scrub(&mut answer);
        assert_eq!(answer, json!({"rule": "S10", "message": "<redacted>"}));
    }
}
