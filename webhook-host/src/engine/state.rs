//! The data of a wasmtime store: the limits of one evaluation, and the guest's log.

use sallyport_core::contract::log::Level;
use sallyport_core::policy::LogLine;
use sallyport_core::printable::printable;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use wasmtime::{ResourceLimiter, StoreContextMut};

/// The limits of one evaluation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    /// The wall-clock time, counted in epochs.
    pub(crate) time: Duration,
    /// The bytes of linear memory, all memories together.
    pub(crate) memory: usize,
    /// The bytes that one answer, or one log line, may take in the host.
    pub(crate) output: usize,
}

/// The most log lines of one evaluation. Further ones are dropped, except for one of severity
/// error, because a panic writes its message there.
const MAX_LOG_LINES: u32 = 16;

/// The bytes of one log line; longer ones are cut.
const MAX_LOG_LINE_BYTES: usize = 1024;

/// One line of a guest's log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Line {
    severity: Severity,
    message: String,
}

/// The contract's `level`, in the form that is sent between processes.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Severity {
    Debug,
    Info,
    Warn,
    Error,
}

impl From<Line> for LogLine {
    fn from(Line { severity, message }: Line) -> Self {
        let level = match severity {
            Severity::Debug => Level::Debug,
            Severity::Info => Level::Info,
            Severity::Warn => Level::Warn,
            Severity::Error => Level::Error,
        };
        Self { level, message }
    }
}

impl Line {
    /// Writes the line to this process's log.
    pub(super) fn emit(&self, policy: &str) {
        let message = self.message.escape_debug();
        match self.severity {
            Severity::Debug => tracing::debug!(policy, "{message}"),
            Severity::Info => tracing::info!(policy, "{message}"),
            Severity::Warn => tracing::warn!(policy, "{message}"),
            Severity::Error => tracing::error!(policy, "{message}"),
        }
    }
}

/// The data of a store.
pub(crate) struct State {
    policy: Arc<str>,
    memory_left: usize,
    memory_refused: bool,
    log_lines_left: u32,
    /// Lines kept for [`State::take_lines`]. `None`: they are logged at once.
    kept_lines: Option<Vec<Line>>,
    /// The last line of severity error, safe to display: the message of a panic, when the guest
    /// traps next.
    last_error: Option<String>,
}

/// The log of an instance so far.
pub(super) struct Log {
    lines_left: u32,
    kept_lines: Option<Vec<Line>>,
}

impl State {
    pub(super) fn new(policy: &Arc<str>, memory: usize) -> Self {
        Self {
            policy: Arc::clone(policy),
            memory_left: memory,
            memory_refused: false,
            log_lines_left: MAX_LOG_LINES + 1,
            kept_lines: None,
            last_error: None,
        }
    }

    /// Keeps later log lines for `take_lines`, instead of logging them.
    pub(crate) fn keep_lines(&mut self) {
        self.kept_lines = Some(vec![]);
    }

    pub(super) fn take_lines(&mut self) -> Vec<Line> {
        self.kept_lines.take().unwrap_or_default()
    }

    /// Drops later log lines until [`Self::go_on_with`] gets what this returns.
    pub(super) fn set_log_aside(&mut self) -> Log {
        Log {
            lines_left: self.log_lines_left,
            kept_lines: self.kept_lines.replace(vec![]),
        }
    }

    pub(super) fn go_on_with(&mut self, log: Log) {
        self.log_lines_left = log.lines_left;
        self.kept_lines = log.kept_lines;
    }

    /// Returns the lines that were kept for a report.
    pub(crate) fn take_log(&mut self) -> Vec<LogLine> {
        self.take_lines().into_iter().map(LogLine::from).collect()
    }

    /// Returns the last error that the guest logged.
    pub(super) fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }

    /// Allows more memory, for growth that the guest does not cause.
    pub(super) fn allow(&mut self, bytes: usize) {
        self.memory_left += bytes;
    }

    /// Implements the contract's `log`: writes a line, or keeps it.
    #[expect(clippy::unnecessary_wraps, reason = "the form that wasmtime asks for")]
    pub(super) fn log(
        mut store: StoreContextMut<'_, Self>,
        (level, message): (Level, String),
    ) -> wasmtime::Result<()> {
        store.data_mut().take_line(level, &message);
        Ok(())
    }

    fn take_line(&mut self, level: Level, message: &str) {
        let reserved = u32::from(level != Level::Error);
        if self.log_lines_left <= reserved {
            return;
        }
        self.log_lines_left -= 1;
        let end = message.floor_char_boundary(MAX_LOG_LINE_BYTES);
        let severity = match level {
            Level::Debug => Severity::Debug,
            Level::Info => Severity::Info,
            Level::Warn => Severity::Warn,
            Level::Error => Severity::Error,
        };
        let line = Line {
            severity,
            message: message[..end].to_owned(),
        };
        if level == Level::Error {
            self.last_error = Some(printable(&line.message).into_owned());
        }
        match &mut self.kept_lines {
            Some(lines) => lines.push(line),
            None => line.emit(&self.policy),
        }
    }

    /// Returns true if the guest was refused memory. A trap that follows is due to that.
    pub(crate) fn memory_refused(&self) -> bool {
        self.memory_refused
    }
}

impl ResourceLimiter for State {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let growth = desired.saturating_sub(current);
        let granted = growth <= self.memory_left;
        if granted {
            self.memory_left -= growth;
        } else {
            self.memory_refused = true;
        }
        Ok(granted)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= super::MAX_TABLE_ELEMENTS)
    }
}
