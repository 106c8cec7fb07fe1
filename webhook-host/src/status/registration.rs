//! The status of the webhook configurations that a host maintains, in `/policies` and
//! `/readyz?verbose`.

use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// The state of the webhook configurations.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegistrationStatus {
    /// The failures that keep them out of shape; empty when they are in shape.
    pub troubles: Vec<String>,
    /// The time since which this holds (RFC 3339).
    pub since: String,
}

impl RegistrationStatus {
    /// Returns one line for each failure, or one that all is well.
    pub fn lines(&self) -> String {
        let since = &self.since;
        if self.troubles.is_empty() {
            return format!("[+] registration in shape since {since}\n");
        }
        let mut text = String::new();
        for trouble in &self.troubles {
            let _ = writeln!(text, "[-] registration since {since}: {trouble}");
        }
        text
    }
}
