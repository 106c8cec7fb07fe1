//! What `/policies` and `/readyz?verbose` tell of the webhook configurations that a host keeps in
//! shape.

use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// How the configurations stand by which API servers ask.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegistrationStatus {
    /// What is not in shape, and why; empty when all is.
    pub troubles: Vec<String>,
    /// Since when it is so (RFC 3339).
    pub since: String,
}

impl RegistrationStatus {
    /// A line each.
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
