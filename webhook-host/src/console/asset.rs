//! A file of the console as it is sent: its media type, coding and entity tag.
//!
//! Invariant: each has an entity tag, which differs by coding, so that a browser that has the file
//! gets 304 without a body.

use axum::http::HeaderMap;
use axum::http::header::{ACCEPT_ENCODING, HeaderName, IF_NONE_MATCH};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// The bytes of a digest that an entity tag keeps.
const ETAG_BYTES: usize = 16;

/// A content coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Gzip,
    Brotli,
}

impl Coding {
    /// Returns the name of the coding in HTTP.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Brotli => "br",
        }
    }
}

/// The content codings that a client takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Codings {
    pub(super) gzip: bool,
    pub(super) brotli: bool,
}

impl Codings {
    /// Reads `Accept-Encoding`. A coding with the weight 0 is not taken.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut codings = Self::default();
        for value in values(headers, &ACCEPT_ENCODING) {
            let (coding, weight) = value.split_once(';').unwrap_or((value, ""));
            let weight = weight.trim().strip_prefix("q=").map(str::parse::<f32>);
            let is_taken = !matches!(weight, Some(Ok(0.0)));
            match coding.trim() {
                "gzip" => codings.gzip = is_taken,
                "br" => codings.brotli = is_taken,
                _ => {}
            }
        }
        codings
    }
}

/// A file to be sent.
pub(super) struct Asset {
    pub(super) content_type: &'static str,
    pub(super) security_policy: &'static str,
    /// The digest of the content, without quotes and coding.
    pub(super) etag: String,
    pub(super) body: Bytes,
    /// The coding of the body.
    pub(super) coding: Option<Coding>,
}

impl Asset {
    /// Returns the entity tag, which differs by coding.
    pub(super) fn tag(&self) -> String {
        let coding = self.coding.map_or("", Coding::name);
        format!("\"{}{coding}\"", self.etag)
    }

    /// Returns true if a client says that it has this very file.
    pub(super) fn is_known_to(&self, headers: &HeaderMap) -> bool {
        let tag = self.tag();
        values(headers, &IF_NONE_MATCH).any(|known| known.trim_start_matches("W/") == tag)
    }
}

/// Returns the items of a header that is a list.
fn values<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter();
    let texts = values.filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).map(str::trim)
}

/// Returns the entity tag of a content, without quotes and coding.
pub(super) fn etag(content: &[u8]) -> String {
    let digest = Sha256::digest(content);
    digest[..ETAG_BYTES]
        .iter()
        .fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a String takes all");
            text
        })
}

/// Returns the media type of a file by its name.
pub(super) fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "svg" => "image/svg+xml",
        "wasm" => "application/wasm",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        let value = HeaderValue::from_static(value);
        [(HeaderName::from_static(name), value)]
            .into_iter()
            .collect()
    }

    #[test]
    fn a_coding_is_taken_unless_its_weight_is_zero() {
        for (accepted, gzip, brotli) in [
            ("gzip, deflate, br, zstd", true, true),
            ("gzip;q=1.0, br;q=0", true, false),
            ("br ; q=0.000,gzip", true, false),
            ("identity", false, false),
            ("", false, false),
        ] {
            let codings = Codings::of(&headers("accept-encoding", accepted));
            assert_eq!(codings, Codings { gzip, brotli }, "{accepted}");
        }
    }

    #[test]
    fn a_client_that_has_the_file_is_recognised_by_its_tag() {
        let asset = Asset {
            content_type: "",
            security_policy: "",
            etag: etag(b"content"),
            body: Bytes::new(),
            coding: Some(Coding::Brotli),
        };
        assert_eq!(asset.tag(), "\"ed7002b439e9ac845f22357d822bac14br\"");
        let knows = |tags| asset.is_known_to(&headers("if-none-match", tags));
        assert!(knows("\"a\", W/\"ed7002b439e9ac845f22357d822bac14br\""));
        assert!(!knows("\"ed7002b439e9ac845f22357d822bac14\""));
    }
}
