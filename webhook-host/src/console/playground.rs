//! The files of the playground: those of a folder that `--console-files` names, else those that the
//! program was built with.
//!
//! Invariants: a request can only name one of the files that were listed at the start, so no path
//! leads out of the folder. Each embedded file is decompressed at most once, and only for a client
//! without brotli, so decompressed files take at most 6 MB in all.

use super::asset::{Asset, Coding, Codings, content_type, etag};
use super::refusal::Refusal;
use axum::http::StatusCode;
use brotli_decompressor::Decompressor;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

mod embedded {
    include!(concat!(env!("OUT_DIR"), "/playground.rs"));
}

/// The Content-Security-Policy of the page. It may load its own files and data, and one frame.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; frame-src 'self'; worker-src 'self'; img-src 'self' data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The Content-Security-Policy of the sandboxed frame. The frame's page has the rest, with the hash
/// of its script; browsers ignore this part in a page.
const FRAME_POLICY: &str = "frame-ancestors 'self'";

/// The Content-Security-Policy of the other files. It applies to a worker's script: jco's
/// transpiler, which is WebAssembly.
const WORKER_POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; \
    connect-src 'self'; frame-ancestors 'none'";

/// The most files of a playground. It has some twenty.
const MAX_FILES: usize = 1000;

/// The largest file of a playground. Its transpiler has 4 MB.
const MAX_FILE_BYTES: u64 = 32 << 20;

/// The bytes that are decompressed at a time.
const BUFFER_BYTES: usize = 16 << 10;

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
    #[error("{path} has more than {most} files; expected the folder that `make console` makes")]
    TooMany {
        /// The folder.
        path: PathBuf,
        /// The files that a playground may have.
        most: usize,
    },
}

/// The place that the files come from.
pub(super) enum Playground {
    /// A folder's files by path.
    Folder(BTreeMap<String, PathBuf>),
    /// The program's own by path; none in a program that was built without them.
    Embedded(BTreeMap<&'static str, Embedded>),
}

/// A file of the program.
pub(super) struct Embedded {
    brotli: &'static [u8],
    etag: String,
    plain: OnceLock<Bytes>,
}

impl Playground {
    /// Lists the files of a folder, or those of the program.
    ///
    /// # Errors
    ///
    /// Fails when the folder is not the playground.
    pub(super) fn new(folder: Option<&Path>) -> Result<Self, SiteError> {
        let Some(folder) = folder else {
            return Ok(Self::Embedded(program()));
        };
        let mut files = BTreeMap::new();
        list(folder, "", &mut files)?;
        if !files.contains_key("index.html") {
            return Err(SiteError::NoIndex(folder.to_owned()));
        }
        Ok(Self::Folder(files))
    }

    /// Returns true if there are any files.
    pub(super) fn is_there(&self) -> bool {
        match self {
            Self::Folder(_) => true,
            Self::Embedded(files) => !files.is_empty(),
        }
    }

    /// Returns a file by its path below the playground's; `None` if a folder has none.
    pub(super) fn find(&self, path: &str, codings: Codings) -> Option<Result<Asset, Refusal>> {
        let name = if path.is_empty() { "index.html" } else { path };
        match self {
            Self::Folder(files) => files.get(name).map(|file| read(file, name)),
            Self::Embedded(files) => Some(match files.get(name) {
                Some(file) => Ok(file.asset(name, codings)),
                None if files.is_empty() => Err(not_built()),
                None => Err(not_embedded()),
            }),
        }
    }
}

/// Lists the program's own files.
fn program() -> BTreeMap<&'static str, Embedded> {
    let files = embedded::FILES.iter().map(|(path, brotli)| {
        let file = Embedded {
            brotli,
            etag: etag(brotli),
            plain: OnceLock::new(),
        };
        (path.trim_end_matches(".br"), file)
    });
    files.collect()
}

impl Embedded {
    fn asset(&self, name: &str, codings: Codings) -> Asset {
        let (body, coding) = if codings.brotli {
            (Bytes::from_static(self.brotli), Some(Coding::Brotli))
        } else {
            (self.plain(), None)
        };
        Asset {
            content_type: content_type(name),
            security_policy: security_policy(name),
            etag: self.etag.clone(),
            body,
            coding,
        }
    }

    /// Returns the file without compression, for a client that does not take brotli, such as Safari
    /// without TLS.
    fn plain(&self) -> Bytes {
        let decompressed = || {
            let mut plain = vec![];
            Decompressor::new(self.brotli, BUFFER_BYTES)
                .read_to_end(&mut plain)
                .expect("the build compressed it");
            plain.into()
        };
        self.plain.get_or_init(decompressed).clone()
    }
}

fn not_built() -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        "this program was built without the playground, which released programs have; run `make \
         console`, which needs Node, and start the host with --console-files target/console, or \
         build the program anew",
    )
}

fn not_embedded() -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        "this program has no such file of the playground; a policy of your own needs jco's \
         transpiler, which only the folder of `make console` has: start the host with \
         --console-files target/console",
    )
}

/// Reads a file of the folder. Only the console's own thread waits for the disk.
fn read(file: &Path, name: &str) -> Result<Asset, Refusal> {
    let plain = std::fs::read(file).map_err(|error| {
        let sentence = format!("this file of --console-files can't be read: {error}");
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, sentence)
    })?;
    Ok(Asset {
        content_type: content_type(name),
        security_policy: security_policy(name),
        etag: etag(&plain),
        body: plain.into(),
        coding: None,
    })
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
            return Err(SiteError::TooMany {
                path: folder.to_owned(),
                most: MAX_FILES,
            });
        }
    }
    Ok(())
}

fn security_policy(name: &str) -> &'static str {
    match name {
        "index.html" => PAGE_POLICY,
        "frame.html" => FRAME_POLICY,
        _ => WORKER_POLICY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_of_the_program_can_be_decompressed() {
        let files = program();
        for (name, file) in &files {
            assert!(!file.plain().is_empty(), "{name}");
        }
        assert!(files.is_empty() || files.contains_key("index.html"));
    }

    #[test]
    fn a_client_without_brotli_gets_the_plain_file() {
        // "hello" as brotli 1.1 writes it.
        let brotli: &[u8] = &[0x0b, 0x02, 0x80, 0x68, 0x65, 0x6c, 0x6c, 0x6f, 0x03];
        let file = Embedded {
            brotli,
            etag: etag(brotli),
            plain: OnceLock::new(),
        };
        let plain = file.asset("a.js", Codings::default());
        assert_eq!((&*plain.body, plain.coding), (&b"hello"[..], None));
        let all = Codings {
            gzip: true,
            brotli: true,
        };
        let compressed = file.asset("a.js", all);
        assert_eq!(
            (&*compressed.body, compressed.coding),
            (brotli, Some(Coding::Brotli))
        );
    }
}
