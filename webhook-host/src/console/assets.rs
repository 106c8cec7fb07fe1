//! The files of the live page, which are part of the program, and beside them the playground's.
//!
//! Invariant: the page works without the playground.

use super::asset::{Asset, Coding, Codings, content_type, etag};
use super::playground::{Playground, SiteError};
use super::refusal::Refusal;
use axum::http::HeaderMap;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

/// The Content-Security-Policy of the live page: its own files and data, and nothing else.
const LIVE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'; require-trusted-types-for 'script'";

/// The path below which the playground is.
const PLAYGROUND: &str = "/playground/";

/// The live page's files: path and content.
const LIVE: [(&str, &[u8]); 6] = [
    ("/", include_bytes!("../../console/live/index.html")),
    ("/base.css", include_bytes!("../../console/shared/base.css")),
    ("/live.css", include_bytes!("../../console/live/live.css")),
    ("/live.js", include_bytes!("../../console/live/live.js")),
    ("/feed.js", include_bytes!("../../console/live/feed.js")),
    ("/icon.svg", include_bytes!("../../console/public/icon.svg")),
];

/// All files of a console.
pub(super) struct Assets {
    live: BTreeMap<&'static str, Compressed>,
    playground: Playground,
}

/// A file of the live page.
struct Compressed {
    plain: &'static [u8],
    gzip: Bytes,
    etag: String,
}

impl Assets {
    /// Compresses the page's files, and lists those of the playground: of a folder, else of the
    /// program.
    ///
    /// # Errors
    ///
    /// Fails when the folder is not the playground.
    pub(super) fn new(playground: Option<&Path>) -> Result<Self, SiteError> {
        let live = LIVE.map(|(path, plain)| {
            let file = Compressed {
                plain,
                gzip: gzip(plain),
                etag: etag(plain),
            };
            (path, file)
        });
        Ok(Self {
            live: live.into_iter().collect(),
            playground: Playground::new(playground)?,
        })
    }

    /// Returns true if the playground is served, too.
    pub(super) fn has_playground(&self) -> bool {
        self.playground.is_there()
    }

    /// Returns the file with this path; `None` if there is none.
    pub(super) fn find(&self, path: &str, headers: &HeaderMap) -> Option<Result<Asset, Refusal>> {
        let codings = Codings::of(headers);
        if let Some(file) = self.live.get(path) {
            return Some(Ok(file.asset(path, codings)));
        }
        self.playground
            .find(path.strip_prefix(PLAYGROUND)?, codings)
    }
}

impl Compressed {
    fn asset(&self, path: &str, codings: Codings) -> Asset {
        let (body, coding) = if codings.gzip {
            (self.gzip.clone(), Some(Coding::Gzip))
        } else {
            (Bytes::from_static(self.plain), None)
        };
        Asset {
            content_type: content_type(if path == "/" { "index.html" } else { path }),
            security_policy: LIVE_POLICY,
            etag: self.etag.clone(),
            body,
            coding,
        }
    }
}

fn gzip(plain: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(vec![], Compression::best());
    encoder.write_all(plain).expect("a vector takes all");
    encoder.finish().expect("a vector takes all").into()
}
