//! The files of the page, which are part of the program, and those of the playground, which are in
//! a folder.
//!
//! Invariants: the page works without the playground. The playground's files are listed once, at
//! the start; a request can only name one of the list, so no path leads out of the folder.

use super::refusal::Refusal;
use axum::http::StatusCode;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The policy of the live page: its own files and data, and nothing else.
const LIVE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'; require-trusted-types-for 'script'";

/// The policy of the playground's pages, which bring one of their own; this part can't stand in a
/// page.
const PLAYGROUND_POLICY: &str = "frame-ancestors 'self'";

/// The path below which the playground is.
const PLAYGROUND: &str = "/playground/";

/// The most files of a playground. It has some fifty.
const MAX_FILES: usize = 1000;

/// The largest file of a playground. Its transpiler has 4 MB.
const MAX_FILE_BYTES: u64 = 32 << 20;

/// The live page's files: path, content type and content.
const LIVE: [(&str, &str, &[u8]); 5] = [
    (
        "/",
        "text/html; charset=utf-8",
        include_bytes!("../../console/live/index.html"),
    ),
    (
        "/live.css",
        "text/css; charset=utf-8",
        include_bytes!("../../console/live/live.css"),
    ),
    (
        "/live.js",
        "text/javascript; charset=utf-8",
        include_bytes!("../../console/live/live.js"),
    ),
    (
        "/feed.js",
        "text/javascript; charset=utf-8",
        include_bytes!("../../console/live/feed.js"),
    ),
    (
        "/icon.svg",
        "image/svg+xml",
        include_bytes!("../../console/public/icon.svg"),
    ),
];

/// An error: a folder is not the playground.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// It can't be read.
    #[error("can't read {path}: {error}")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The reason.
        error: std::io::Error,
    },
    /// It has no `index.html`.
    #[error("{0} has no index.html; expected the folder that `make console` makes, target/console")]
    NoIndex(PathBuf),
    /// It has too many files.
    #[error("{0} has more than {MAX_FILES} files; expected the folder that `make console` makes")]
    TooMany(PathBuf),
}

/// A file to be sent.
pub(super) struct Asset {
    pub(super) content_type: &'static str,
    pub(super) security_policy: &'static str,
    pub(super) plain: Bytes,
    pub(super) gzip: Option<Bytes>,
}

/// All files of a console.
pub(super) struct Assets {
    live: BTreeMap<&'static str, Compressed>,
    /// The playground's files by path below [`PLAYGROUND`].
    playground: BTreeMap<String, PathBuf>,
}

/// A file of the live page.
struct Compressed {
    content_type: &'static str,
    plain: &'static [u8],
    gzip: Bytes,
}

impl Assets {
    /// Compresses the page's files, and lists those of a playground.
    ///
    /// # Errors
    ///
    /// Fails when the folder is not the playground.
    pub(super) fn new(playground: Option<&Path>) -> Result<Self, SiteError> {
        let live = LIVE.map(|(path, content_type, plain)| {
            let file = Compressed {
                content_type,
                plain,
                gzip: gzip(plain),
            };
            (path, file)
        });
        let mut files = BTreeMap::new();
        if let Some(folder) = playground {
            list(folder, "", &mut files)?;
            if !files.contains_key("index.html") {
                return Err(SiteError::NoIndex(folder.to_owned()));
            }
        }
        Ok(Self {
            live: live.into_iter().collect(),
            playground: files,
        })
    }

    /// Returns true if the playground is served, too.
    pub(super) fn has_playground(&self) -> bool {
        !self.playground.is_empty()
    }

    /// Returns the file with this path; `None` if there is none.
    pub(super) fn find(&self, path: &str) -> Option<Result<Asset, Refusal>> {
        if let Some(file) = self.live.get(path) {
            return Some(Ok(Asset {
                content_type: file.content_type,
                security_policy: LIVE_POLICY,
                plain: Bytes::from_static(file.plain),
                gzip: Some(file.gzip.clone()),
            }));
        }
        let name = match path.strip_prefix(PLAYGROUND)? {
            "" => "index.html",
            name => name,
        };
        if !self.has_playground() {
            return Some(Err(Refusal::new(
                StatusCode::NOT_FOUND,
                "this host has no files of the playground; start it with --console-files \
                 target/console, which `make console` makes",
            )));
        }
        Some(read(self.playground.get(name)?, content_type(name)))
    }
}

/// Reads a file of the playground. The console's thread waits for the disk, and nobody else.
fn read(file: &Path, content_type: &'static str) -> Result<Asset, Refusal> {
    let plain = std::fs::read(file).map_err(|error| {
        let sentence = format!("this file of --console-files can't be read: {error}");
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, sentence)
    })?;
    Ok(Asset {
        content_type,
        security_policy: PLAYGROUND_POLICY,
        plain: plain.into(),
        gzip: None,
    })
}

fn gzip(plain: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(vec![], Compression::best());
    encoder.write_all(plain).expect("a vector takes all");
    encoder.finish().expect("a vector takes all").into()
}

/// Lists the files of a folder and of its sub-folders, links left out.
fn list(
    folder: &Path,
    prefix: &str,
    files: &mut BTreeMap<String, PathBuf>,
) -> Result<(), SiteError> {
    let unread = |error| SiteError::Read {
        path: folder.to_owned(),
        error,
    };
    for entry in std::fs::read_dir(folder).map_err(unread)? {
        let entry = entry.map_err(unread)?;
        let found = entry.metadata().map_err(unread)?;
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
            continue;
        };
        if found.is_dir() {
            list(&entry.path(), &format!("{prefix}{name}/"), files)?;
        } else if found.is_file() && found.len() <= MAX_FILE_BYTES {
            files.insert(format!("{prefix}{name}"), entry.path());
        }
        if files.len() > MAX_FILES {
            return Err(SiteError::TooMany(folder.to_owned()));
        }
    }
    Ok(())
}

fn content_type(name: &str) -> &'static str {
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
