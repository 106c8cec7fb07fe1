//! Recognition of texts that look like credentials.
//!
//! The second line of defence: [`redaction`](super::redaction) keeps only texts that are known to
//! be harmless or that decide about a review, and of those none that looks like a credential. False
//! positives are acceptable, misses are not.

/// The fewest characters of a credential after a scheme such as `Bearer`.
const MIN_CREDENTIAL_LENGTH: usize = 8;

/// Words that mark an annotation as a credential in its key, and a value in an assignment
/// (`password=…`, `"token": …`). Compared in lower case and without `-`, `_` and `.`.
const WORDS: [&str; 18] = [
    "password",
    "pwd",
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
    "signature",
    "clientkey",
    "sessionid",
    "connectionstring",
];

/// The prefixes of widely used services' tokens, and the fewest characters that follow.
const TOKENS: [(&str, usize); 31] = [
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
    ("ya29.", 16),
    ("hf_", 16),
    ("pypi-", 16),
    ("glrt-", 16),
    ("glsa_", 16),
    ("SG.", 16),
    ("dckr_pat_", 16),
    ("xapp-", 8),
    ("sq0", 16),
    ("shpat_", 16),
    ("LTAI", 12),
];

/// The beginnings of an Authorization header's value.
const SCHEMES: [&str; 2] = ["bearer ", "basic "];

/// The end of a PEM header of any private key.
const PEM: &str = "PRIVATE KEY-----";

/// Returns true if a key names a credential.
pub(super) fn is_named_like_one(key: &str) -> bool {
    let plain = plain(key);
    WORDS.iter().any(|word| plain.contains(word))
}

fn plain(text: &str) -> String {
    text.chars()
        .filter(|c| !matches!(c, '-' | '_' | '.'))
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

/// Returns true if a text holds a credential.
pub(super) fn looks_like_one(value: &str) -> bool {
    let words = || {
        value.split(|c: char| {
            c.is_whitespace() || matches!(c, '"' | '\'' | ',' | ';' | '=' | ':' | '/' | '@')
        })
    };
    value.contains(PEM)
        || words().any(is_token)
        || has_user_information(value)
        || is_authorization(value)
        || assigns(value)
}

fn is_token(word: &str) -> bool {
    TOKENS.iter().any(|(begin, least)| {
        word.strip_prefix(begin)
            .is_some_and(|rest| rest.len() >= *least)
    })
}

/// Returns true for `scheme://user:password@host` and `scheme://token@host`.
fn has_user_information(value: &str) -> bool {
    value.split("://").skip(1).any(|rest| {
        let authority = rest
            .split(|c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\'' | ','))
            .next();
        // A user without a password may be a token: `https://TOKEN@host`.
        authority.is_some_and(|authority| authority.contains('@'))
    })
}

fn is_authorization(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    SCHEMES.iter().any(|scheme| {
        lower.match_indices(scheme).any(|(at, _)| {
            let stands_alone = !lower[..at].ends_with(|c: char| c.is_ascii_alphanumeric());
            let rest = lower[at + scheme.len()..]
                .split(char::is_whitespace)
                .next()
                .unwrap_or_default();
            stands_alone && rest.len() >= MIN_CREDENTIAL_LENGTH
        })
    })
}

/// Returns true for short names that mark a credential only in an assignment: `sig=` of a signed
/// URL, `auth` of Docker's configuration.
fn is_assigned_one(name: &str) -> bool {
    ["sig", "auth", "key", "pass", "sas", "jwt"].contains(&plain(name).as_str())
}

/// Returns true for assignments such as `password=x`, `"token": "x"` and `secret: x`.
fn assigns(value: &str) -> bool {
    value.match_indices(['=', ':']).any(|(at, _)| {
        let name = value[..at].trim_end_matches(['"', '\'', ' ', '\\']);
        let name = name
            .rsplit(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')))
            .next();
        let assigned = value[at + 1..].trim_start_matches(['"', '\'', ' ', '\\']);
        let is_path = assigned.starts_with("//");
        !assigned.is_empty()
            && !is_path
            && name.is_some_and(|name| is_named_like_one(name) || is_assigned_one(name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
            "Server=db;User=x;Pwd=hunter2",
            "https://x.blob.core.windows.net/a?sv=1&sig=abc",
            r#"{"auths":{"r":{"auth":"dXNlcjpwYXNz"}}}"#,
            "https://0123456789abcdef@sentry.example.com/1",
            "client-key-data: LS0tLS1CRUdJTi",
            "ya29.a0AfH6SMBx0123456789",
            "hf_0123456789abcdefghij",
            "pypi-AgEIcHlwaS5vcmcCJDAx",
            "glrt-0123456789abcdefghij",
            "SG.0123456789abcdefghij.klm",
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
            "https://example.com:8443/keys?id=1",
            "2026-01-01T12:00:00Z; the load balancer is down",
            "subnet-0123456789abcdef0",
            "arn:aws:acm:eu-1:1:certificate/x",
            "basic",
            "tcp:80",
        ] {
            assert!(!looks_like_one(value), "{value}");
        }
        for key in [
            "service.beta.kubernetes.io/aws-load-balancer-internal",
            "sallyport.dev/break-glass",
        ] {
            assert!(!is_named_like_one(key), "{key}");
        }
    }
}
