//! What `/policies` and `/readyz?verbose` tell of certificates.

use super::LastReload;
use serde::{Deserialize, Serialize};
use std::fmt::{self, Write as _};

/// The certificate that a host shows, and what becomes of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateStatus {
    /// For whom it is; empty while there is none.
    pub names: Vec<String>,
    /// The first second in which it counts (RFC 3339); absent while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<String>,
    /// The last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<String>,
    /// What clients hold against it, or soon will.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// When the first authority of clients ends; absent when clients need no certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients_until: Option<String>,
    /// What came of the last reload; absent when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_reload: Option<LastReload>,
    /// Absent when the host does not make its own certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_managed: Option<SelfManagedStatus>,
}

/// How a host and the cluster stand that keeps its certificates.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SelfManagedStatus {
    /// Whether this host is the one that writes.
    pub leader: bool,
    /// When the newest authority ends (RFC 3339); absent before there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority_until: Option<String>,
    /// What is done, or waited for, in a sentence.
    pub state: String,
    /// What went wrong in the last round; empty when nothing did.
    #[serde(default)]
    pub troubles: Vec<CertificateTrouble>,
}

/// One thing that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateTrouble {
    /// Of what kind.
    pub reason: TroubleReason,
    /// What, and what to do.
    pub message: String,
}

/// The kinds of trouble, as metrics label them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TroubleReason {
    /// The API server did not answer.
    Unreachable,
    /// It refused for want of rights.
    Forbidden,
    /// It refused for another reason.
    Refused,
    /// Somebody else wrote first.
    Conflict,
    /// The Secret holds what can't be used.
    Garbage,
    /// The Secret is somebody else's.
    Foreign,
    /// A webhook configuration is not there, or calls another Service.
    Absent,
    /// Somebody keeps changing a webhook configuration back.
    Contested,
}

impl TroubleReason {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Forbidden => "forbidden",
            Self::Refused => "refused",
            Self::Conflict => "conflict",
            Self::Garbage => "garbage",
            Self::Foreign => "foreign",
            Self::Absent => "absent",
            Self::Contested => "contested",
        }
    }
}

impl fmt::Display for CertificateTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.word(), self.message)
    }
}

impl CertificateStatus {
    /// One line on the certificate, and one on whatever is wrong with it or its keeping.
    pub fn lines(&self) -> String {
        let mut text = String::new();
        let names = self.names.join(" ");
        let _ = match (&self.not_after, &self.trouble) {
            (None, _) => writeln!(text, "[-] certificate: none yet"),
            (Some(_), Some(trouble)) => writeln!(text, "[-] certificate {trouble} ({names})"),
            (Some(end), None) => writeln!(text, "[+] certificate until {end} ({names})"),
        };
        if let Some(LastReload {
            at,
            error: Some(error),
        }) = &self.last_reload
        {
            let _ = writeln!(
                text,
                "[-] certificate reload failed at {at}, the one from before serves on: {error}"
            );
        }
        if let Some(managed) = &self.self_managed {
            let role = if managed.leader { "leader" } else { "follower" };
            let _ = writeln!(
                text,
                "[+] certificate self-managed, {role}: {}",
                managed.state
            );
            for trouble in &managed.troubles {
                let _ = writeln!(text, "[-] certificate {trouble}");
            }
        }
        text
    }
}
