//! The host's data for one evaluation: limits and the guest's log.

use sallyport_core::contract::log::Level;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use wasmtime::{ResourceLimiter, StoreContextMut};

/// The limits of one evaluation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    /// Wall-clock time, counted in epochs.
    pub(crate) time: Duration,
    /// Bytes of linear memory, all memories together.
    pub(crate) memory: usize,
    /// Bytes that one answer, or one line for the log, may take up in the host.
    pub(crate) output: usize,
}

/// Log lines of one evaluation; a guest that writes more is cut off.
const LOG_LINES: u32 = 16;

/// Bytes of one log line.
const LOG_LINE: usize = 1024;

/// One line of a guest's log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Line {
    severity: Severity,
    message: String,
}

/// The contract's `level`, for the way between two processes.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Severity {
    Debug,
    Info,
    Warn,
    Error,
}

impl Line {
    /// Writes it to the process' own log.
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
    /// Lines that somebody else will write; `None`: they are written at once.
    kept_lines: Option<Vec<Line>>,
}

impl State {
    pub(super) fn new(policy: &Arc<str>, memory: usize) -> Self {
        Self {
            policy: Arc::clone(policy),
            memory_left: memory,
            memory_refused: false,
            log_lines_left: LOG_LINES,
            kept_lines: None,
        }
    }

    /// Keeps lines of the log from now on, for `take_lines`.
    pub(super) fn keep_lines(&mut self) {
        self.kept_lines = Some(vec![]);
    }

    pub(super) fn take_lines(&mut self) -> Vec<Line> {
        self.kept_lines.take().unwrap_or_default()
    }

    /// Allows some more memory: for what is not the guest's own doing.
    pub(super) fn allow(&mut self, bytes: usize) {
        self.memory_left += bytes;
    }

    /// The contract's `log`: writes a line, or keeps it.
    #[expect(clippy::unnecessary_wraps, reason = "the form that wasmtime asks for")]
    pub(super) fn log(
        mut store: StoreContextMut<'_, Self>,
        (level, message): (Level, String),
    ) -> wasmtime::Result<()> {
        store.data_mut().take_line(level, &message);
        Ok(())
    }

    fn take_line(&mut self, level: Level, message: &str) {
        let Some(left) = self.log_lines_left.checked_sub(1) else {
            return;
        };
        self.log_lines_left = left;
        let end = message.floor_char_boundary(LOG_LINE);
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
        match &mut self.kept_lines {
            Some(lines) => lines.push(line),
            None => line.emit(&self.policy),
        }
    }

    /// Returns whether the guest was refused memory: its trap, if one follows, means that.
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
        Ok(desired <= super::TABLE_ELEMENTS)
    }
}
