//! Standard output and standard error of all commands but `serve`, which logs: formats, colours,
//! and the end of a pipe.

use super::Cli;
use crate::engine::{Compilation, SlowCompilation};
use anstream::{AutoStream, ColorChoice};
use anyhow::{Context as _, Result};
use clap::{Args, CommandFactory as _, ValueEnum};
use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal as _, Stderr, Write as _, stderr, stdout};
use std::time::{Duration, Instant};

use sallyport_core::printable::printable_json;
use sallyport_core::report::{Detail, View};

/// Formats of facts and of reports without places in files.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum TextFormat {
    #[value(alias = "human")]
    Text,
    Json,
}

/// Formats of findings in files.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum FindingsFormat {
    #[value(alias = "human")]
    Text,
    Json,
    Sarif,
    Github,
    Gitlab,
}

impl FindingsFormat {
    /// Returns true if the summary for people goes to standard error: annotations count nothing,
    /// and a clean run has none.
    pub(super) fn leaves_out_summary(self, detail: &DetailArgs) -> bool {
        matches!(self, Self::Github) && !detail.is_quiet()
    }
}

/// Formats of test results.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum TestFormat {
    #[value(alias = "human")]
    Text,
    Json,
    Junit,
    Github,
}

impl TestFormat {
    /// Returns true if the summary for people goes to standard error.
    pub(super) fn leaves_out_summary(self, detail: &DetailArgs) -> bool {
        matches!(self, Self::Github) && !detail.is_quiet()
    }
}

/// Formats of Kubernetes objects.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum ObjectFormat {
    Yaml,
    Json,
}

/// The detail of a text report.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct DetailArgs {
    /// Print only what fails
    #[arg(long, short, conflicts_with = "verbose")]
    quiet: bool,
    /// Print what passes, too
    #[arg(long, short)]
    verbose: bool,
}

impl DetailArgs {
    pub(super) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Returns the view for standard output: in colours on a terminal, unless NO_COLOR is set
    /// (no-color.org).
    pub(super) fn view(&self) -> View {
        let detail = match (self.quiet, self.verbose) {
            (true, _) => Detail::Quiet,
            (_, true) => Detail::Verbose,
            _ => Detail::Ordinary,
        };
        View {
            detail,
            colours: AutoStream::choice(&stdout()) != ColorChoice::Never,
        }
    }
}

/// Prints to standard output. A reader that has enough, such as `head`, ends the program with
/// success.
///
/// # Errors
///
/// When nothing can be written for another reason, such as a full disk.
pub(super) fn print(text: &str) -> Result<()> {
    let mut out = stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        written => written.context("can't write to standard output"),
    }
}

/// Prints a value as indented JSON.
///
/// # Errors
///
/// As [`print`].
pub(super) fn print_json(value: &impl serde::Serialize) -> Result<()> {
    let json = serde_json::to_string_pretty(value)?;
    print(&format!("{}\n", printable_json(json)))
}

/// Writes an error to standard error, as clap does. That nobody reads it changes nothing.
pub(super) fn error(problem: impl Display) {
    let style = *Cli::command().get_styles().get_error();
    let mut stream = anstream::stderr();
    let _ = writeln!(stream, "{style}error:{style:#} {problem}");
}

/// Writes a line for people to standard error. That nobody reads it changes nothing.
pub(super) fn note(line: impl Display) {
    let _ = writeln!(stderr(), "{line}");
}

/// Says on standard error which component is compiled: soon on a terminal, and elsewhere only
/// before somebody thinks that the program hangs.
pub(super) fn slow_compilation() -> SlowCompilation {
    SlowCompilation {
        after: Duration::from_secs(if stderr().is_terminal() { 1 } else { 10 }),
        tell: |compilation| {
            let then = if compilation.is_kept {
                "; the next run takes the result from the cache"
            } else {
                ""
            };
            note_compilation(compilation, then);
        },
    }
}

/// Writes the line about a compilation, over the one of a [`Progress`] if there is one.
pub(super) fn note_compilation(compilation: &Compilation<'_>, then: &str) {
    let line_start = if stderr().is_terminal() {
        "\r\x1b[K"
    } else {
        ""
    };
    note(format_args!(
        "{line_start}compiling {} ({:.1} MB){then}",
        compilation.policy,
        megabytes(compilation.bytes)
    ));
}

#[expect(
    clippy::cast_precision_loss,
    reason = "for people; components are far smaller than 2^52 bytes"
)]
fn megabytes(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}

/// A line on a terminal's standard error that says how far a long run has come, and is gone at the
/// end.
pub(super) struct Progress {
    stream: Option<Stderr>,
    next: Instant,
    is_shown: bool,
}

impl Progress {
    /// A run that is over within this time shows nothing.
    const DELAY: Duration = Duration::from_millis(700);
    const INTERVAL: Duration = Duration::from_millis(100);

    pub(super) fn new() -> Self {
        Self {
            stream: Some(stderr()).filter(Stderr::is_terminal),
            next: Instant::now() + Self::DELAY,
            is_shown: false,
        }
    }

    /// Shows that so many of all are done.
    pub(super) fn show(&mut self, done: usize, all: usize, noun: &str) {
        self.line(format_args!("{done} of {all} {noun}"));
    }

    /// Shows that so many are done, where nobody knows how many there are.
    pub(super) fn show_count(&mut self, done: u64, noun: &str) {
        self.line(format_args!("{done} {noun}"));
    }

    fn line(&mut self, line: impl Display) {
        let now = Instant::now();
        if let Some(stream) = self.stream.as_mut().filter(|_| now >= self.next) {
            let _ = write!(stream, "\r\x1b[K{line}");
            let _ = stream.flush();
            self.next = now + Self::INTERVAL;
            self.is_shown = true;
        }
    }

    /// Makes room for a line of output.
    pub(super) fn clear(&mut self) {
        if let Some(stream) = self.stream.as_mut().filter(|_| self.is_shown) {
            let _ = write!(stream, "\r\x1b[K");
            let _ = stream.flush();
            self.is_shown = false;
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
