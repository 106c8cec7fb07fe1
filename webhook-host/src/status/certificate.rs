//! The status of certificates, in `/policies` and `/readyz?verbose`.

use super::LastReload;
use serde::{Deserialize, Serialize};
use std::fmt::{self, Write as _};

/// The certificate that a host shows, with its reloads and renewal.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateStatus {
    /// Its names; empty while there is none.
    pub names: Vec<String>,
    /// The first second of its validity (RFC 3339); absent while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<String>,
    /// The last second of its validity (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<String>,
    /// The reason for which clients refuse it or soon will.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// The expiry of the first authority of clients; absent when clients need no certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients_until: Option<String>,
    /// The result of the last reload; absent when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_reload: Option<LastReload>,
    /// The renewal; absent when the host does not make its own certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_managed: Option<SelfManagedStatus>,
}

/// The state of self-managed certificates on this host and in the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SelfManagedStatus {
    /// True when this host holds the Lease and writes.
    pub leader: bool,
    /// The expiry of the newest authority (RFC 3339); absent before there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority_until: Option<String>,
    /// The current activity, in a sentence.
    pub state: String,
    /// The failures of the last round.
    #[serde(default)]
    pub troubles: Vec<CertificateTrouble>,
}

/// A failure of the self-managed certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateTrouble {
    /// The kind of failure.
    pub reason: TroubleReason,
    /// The failure, and what to do.
    pub message: String,
}

/// The kinds of failures, as metrics label them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TroubleReason {
    /// The API server did not answer.
    Unreachable,
    /// The API server refused for lack of permissions.
    Forbidden,
    /// The API server refused for another reason.
    Refused,
    /// Another client wrote the object first.
    Conflict,
    /// The content of the Secret can't be used.
    Garbage,
    /// The Secret does not belong to Sallyport.
    Foreign,
    /// A webhook configuration is missing, or calls another Service.
    Absent,
    /// Another client keeps changing a webhook configuration back.
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
    /// Returns the lines of `/readyz?verbose`: one for the certificate, and one for each failure.
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
