//! What the host keeps for one evaluation: limits and the guest's log.

use crate::contract::log::{self, Level};
use std::sync::Arc;
use std::time::Duration;
use wasmtime::ResourceLimiter;

/// What one evaluation may use.
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

/// The data of a store.
pub(crate) struct State {
    policy: Arc<str>,
    memory: usize,
    memory_left: usize,
    memory_refused: bool,
    log_lines_left: u32,
}

impl State {
    pub(super) fn new(policy: &Arc<str>, memory: usize) -> Self {
        Self {
            policy: Arc::clone(policy),
            memory: 0,
            memory_left: memory,
            memory_refused: false,
            log_lines_left: LOG_LINES,
        }
    }

    /// Allows some more memory: for what is not the guest's own doing.
    pub(super) fn allow(&mut self, bytes: usize) {
        self.memory_left += bytes;
    }

    /// The name of its policy.
    pub(crate) fn policy(&self) -> &Arc<str> {
        &self.policy
    }

    /// Bytes of linear memory, all memories together.
    pub(super) fn memory(&self) -> usize {
        self.memory
    }

    /// Whether the guest was refused memory: its trap, if one follows, means that.
    pub(crate) fn memory_refused(&self) -> bool {
        self.memory_refused
    }
}

impl ResourceLimiter for State {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let growth = desired.saturating_sub(current);
        let granted = growth <= self.memory_left;
        if granted {
            self.memory_left -= growth;
            self.memory += growth;
        } else {
            self.memory_refused = true;
        }
        Ok(granted)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= super::TABLE_ELEMENTS)
    }
}

impl log::Host for State {
    fn log(&mut self, level: Level, message: String) {
        let Some(left) = self.log_lines_left.checked_sub(1) else { return };
        self.log_lines_left = left;
        let end = message.floor_char_boundary(LOG_LINE);
        let (policy, message) = (&*self.policy, message[..end].escape_debug());
        match level {
            Level::Debug => tracing::debug!(policy, "{message}"),
            Level::Info => tracing::info!(policy, "{message}"),
            Level::Warn => tracing::warn!(policy, "{message}"),
            Level::Error => tracing::error!(policy, "{message}"),
        }
    }
}
