//! URLs, as Kubernetes' CEL reads them with Go's package `net/url`: absolute, or an absolute path.

use crate::budget::Budget;
use crate::error::EvalError;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// A URL.
#[derive(PartialEq, Eq)]
pub struct Url {
    scheme: String,
    /// What follows a scheme without `/`: `mailto:x`.
    opaque: String,
    user: Option<(String, Option<String>)>,
    /// Unescaped, with the port.
    host: String,
    escaped_path: String,
    query: Option<String>,
    fragment: String,
}

/// A part of a URL, whose characters are escaped by rules of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Escaping {
    Path,
    Host,
    Zone,
    User,
    Query,
    Fragment,
}

impl Url {
    /// Reads a URL.
    pub(crate) fn parse(text: &str) -> Result<Self, EvalError> {
        let error = |message: String| {
            EvalError::of(format!(
                "URL parse error during conversion from string: {message}"
            ))
        };
        validate(text).map_err(error)?;
        let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
        let mut url = parse(rest, false)
            .map_err(|problem| error(format!("parse {:?}: {problem}", Quoted(text))))?;
        url.fragment = unescape(fragment, Escaping::Fragment)
            .map_err(|problem| error(format!("parse {:?}: {problem}", Quoted(text))))?;
        Ok(url)
    }

    pub(crate) fn scheme(&self) -> &str {
        &self.scheme
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn hostname(&self) -> &str {
        let host = match self.host.rfind(':') {
            Some(colon) if is_port(&self.host[colon..]) => &self.host[..colon],
            _ => &self.host,
        };
        host.strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host)
    }

    pub(crate) fn port(&self) -> &str {
        match self.host.rfind(':') {
            Some(colon) if is_port(&self.host[colon..]) => &self.host[colon + 1..],
            _ => "",
        }
    }

    pub(crate) fn escaped_path(&self) -> &str {
        &self.escaped_path
    }

    /// Returns the keys of the query with their values, both unescaped.
    pub(crate) fn query(&self, budget: &Budget) -> Result<Query, EvalError> {
        let mut query = Query::new();
        for pair in self.query.iter().flat_map(|query| query.split('&')) {
            // The key is looked for among those before it, and it and its value are copied.
            budget.spend(8 + query.len() as u64 / 4)?;
            budget.spend_bytes(2 * pair.len())?;
            if pair.is_empty() || pair.contains(';') {
                continue;
            }
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Ok(key), Ok(value)) = (
                unescape(key, Escaping::Query),
                unescape(value, Escaping::Query),
            ) else {
                continue;
            };
            match query.iter_mut().find(|(found, _)| *found == key) {
                Some((_, values)) => values.push(value),
                None => query.push((key, alloc::vec![value])),
            }
        }
        Ok(query)
    }
}

/// The keys of a query with their values.
type Query = Vec<(String, Vec<String>)>;

/// Quotes a text as Go's `%q` does for printable text.
struct Quoted<'a>(&'a str);

impl core::fmt::Debug for Quoted<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&super::text::go_quoted(self.0))
    }
}

/// Checks that a text is a URL, as `isURL` does. The error is Go's.
pub(crate) fn validate(text: &str) -> Result<(), String> {
    parse(text, true)
        .map(|_| ())
        .map_err(|problem| format!("parse {:?}: {problem}", Quoted(text)))
}

fn parse(text: &str, is_request: bool) -> Result<Url, String> {
    if text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
        return Err("net/url: invalid control character in URL".to_owned());
    }
    if text.is_empty() && is_request {
        return Err("empty url".to_owned());
    }
    let mut url = Url {
        scheme: String::new(),
        opaque: String::new(),
        user: None,
        host: String::new(),
        escaped_path: String::new(),
        query: None,
        fragment: String::new(),
    };
    if text == "*" {
        url.escaped_path.push('*');
        return Ok(url);
    }
    let (scheme, mut rest) = split_scheme(text)?;
    url.scheme = scheme.to_ascii_lowercase();
    if let Some((before, query)) = rest.split_once('?') {
        rest = before;
        url.query = Some(query.to_owned());
    }
    if !rest.starts_with('/') {
        if !url.scheme.is_empty() {
            rest.clone_into(&mut url.opaque);
            return Ok(url);
        }
        if is_request {
            return Err("invalid URI for request".to_owned());
        }
        if rest
            .split('/')
            .next()
            .is_some_and(|first| first.contains(':'))
        {
            return Err("first path segment in URL cannot contain colon".to_owned());
        }
    }
    let has_authority = !url.scheme.is_empty() || !is_request && !rest.starts_with("///");
    if let Some(after) = rest.strip_prefix("//").filter(|_| has_authority) {
        let end = after.find('/').unwrap_or(after.len());
        rest = &after[end..];
        parse_authority(&after[..end], &mut url)?;
    }
    let path = unescape(rest, Escaping::Path)?;
    url.escaped_path = if is_escaped(rest) {
        rest.to_owned()
    } else {
        escape_path(&path)
    };
    Ok(url)
}

fn split_scheme(text: &str) -> Result<(&str, &str), String> {
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if index > 0 => {}
            b':' if index == 0 => return Err("missing protocol scheme".to_owned()),
            b':' => return Ok((&text[..index], &text[index + 1..])),
            _ => return Ok(("", text)),
        }
    }
    Ok(("", text))
}

fn parse_authority(authority: &str, url: &mut Url) -> Result<(), String> {
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    url.host = parse_host(host)?;
    let Some(user) = user else {
        return Ok(());
    };
    let is_valid = user
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&byte));
    if !is_valid {
        return Err("net/url: invalid userinfo".to_owned());
    }
    url.user = Some(match user.split_once(':') {
        Some((name, password)) => (
            unescape(name, Escaping::User)?,
            Some(unescape(password, Escaping::User)?),
        ),
        None => (unescape(user, Escaping::User)?, None),
    });
    Ok(())
}

fn parse_host(host: &str) -> Result<String, String> {
    if host.starts_with('[') {
        let end = host
            .rfind(']')
            .ok_or_else(|| "missing ']' in host".to_owned())?;
        let port = &host[end + 1..];
        if !is_port(port) {
            return Err(format!("invalid port {port:?} after host"));
        }
        if let Some(zone) = host[..end].find("%25") {
            return Ok(unescape(&host[..zone], Escaping::Host)?
                + &unescape(&host[zone..end], Escaping::Zone)?
                + &unescape(&host[end..], Escaping::Host)?);
        }
    } else if let Some(colon) = host.rfind(':') {
        let port = &host[colon..];
        if !is_port(port) {
            return Err(format!("invalid port {port:?} after host"));
        }
    }
    unescape(host, Escaping::Host)
}

/// Returns whether a text is empty, or `:` and digits.
fn is_port(text: &str) -> bool {
    text.is_empty()
        || text
            .strip_prefix(':')
            .is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
}

fn unescape(text: &str, escaping: Escaping) -> Result<String, String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'%' => {
                let escape = text.get(at..at + 3).or_else(|| text.get(at..));
                let escape = escape.unwrap_or("%");
                let value = Some(escape)
                    .filter(|escape| escape.len() == 3)
                    .filter(|escape| escape[1..].bytes().all(|byte| byte.is_ascii_hexdigit()))
                    .and_then(|escape| u8::from_str_radix(&escape[1..], 16).ok());
                let invalid = || format!("invalid URL escape {escape:?}");
                let value = value.ok_or_else(invalid)?;
                // A host escapes only what is beyond ASCII, and the sign before a zone.
                if escaping == Escaping::Host && value < 0x80 && escape != "%25" {
                    return Err(invalid());
                }
                if escaping == Escaping::Zone
                    && escape != "%25"
                    && value != b' '
                    && must_escape(value, Escaping::Host)
                {
                    return Err(invalid());
                }
                out.push(value);
                at += 3;
            }
            b'+' if escaping == Escaping::Query => {
                out.push(b' ');
                at += 1;
            }
            byte => {
                let is_host = matches!(escaping, Escaping::Host | Escaping::Zone);
                if is_host && *byte < 0x80 && must_escape(*byte, escaping) {
                    let c = char::from(*byte);
                    return Err(format!(
                        "invalid character {:?} in host name",
                        c.to_string_lossy()
                    ));
                }
                out.push(*byte);
                at += 1;
            }
        }
    }
    Ok(String::from_utf8(out)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// A character as a text, for messages.
trait Lossy {
    fn to_string_lossy(self) -> String;
}

impl Lossy for char {
    fn to_string_lossy(self) -> String {
        let mut text = String::new();
        text.push(self);
        text
    }
}

fn must_escape(byte: u8, escaping: Escaping) -> bool {
    if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
        return false;
    }
    match escaping {
        Escaping::Host | Escaping::Zone => !b"!$&'()*+,;=:[]<>\"".contains(&byte),
        _ => !b"$&+,/:;=@".contains(&byte),
    }
}

/// Returns whether a path is escaped already, so that it stays as it was written.
fn is_escaped(path: &str) -> bool {
    path.bytes()
        .all(|byte| b"!$&'()*+,;=:@[]%".contains(&byte) || !must_escape(byte, Escaping::Path))
}

fn escape_path(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        if must_escape(byte, Escaping::Path) {
            out.push_str(&format!("%{byte:02X}"));
        } else {
            out.push(char::from(byte));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).expect("valid")
    }

    #[test]
    fn parts_are_those_of_go() {
        let found = url("HTTPS://user:pass@Example.com:80/a b/%2F?k=1&k=2&x+y=%20#f");
        assert_eq!(found.scheme(), "https");
        assert_eq!(found.host(), "Example.com:80");
        assert_eq!(found.hostname(), "Example.com");
        assert_eq!(found.port(), "80");
        assert_eq!(found.escaped_path(), "/a%20b//");
        let query = [("k", alloc::vec!["1", "2"]), ("x y", alloc::vec![" "])];
        let budget = Budget::new(1000);
        let parts = found.query(&budget).expect("cheap");
        for ((key, values), (expected, wanted)) in parts.iter().zip(query) {
            assert_eq!(
                (key.as_str(), values.as_slice().len()),
                (expected, wanted.len())
            );
            assert!(
                values
                    .iter()
                    .zip(wanted)
                    .all(|(value, wanted)| value == wanted)
            );
        }
        assert_eq!(url("https://[::1]:80/").hostname(), "::1");
        assert_eq!(url("/path").host(), "");
        assert_eq!(url("https://example.com").escaped_path(), "");
        let empty = url("https://example.com/path?").query(&budget);
        assert!(empty.expect("cheap").is_empty());
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "https://a:b:c/",
            "../relative",
            "example.com",
            "https://a b/",
            "https://[::1/",
            "http://x/%zz",
            ":x",
            "http://x:port/",
            "http://u ser@x/",
            "http://a\n",
        ] {
            assert!(validate(text).is_err(), "{text}");
            assert!(Url::parse(text).is_err(), "{text}");
        }
    }
}
