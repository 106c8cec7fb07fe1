//! The bundle of authorities: is it there, can it be read, until when is it good?

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::parse_x509_certificate;

/// What is wrong with a bundle.
pub(super) enum Fault {
    /// Why it holds no certificate that can be read.
    Unreadable(String),
    /// Every certificate has ended; when the last one did.
    Expired(Timestamp),
    /// The last one ends soon.
    Expiring(Timestamp),
}

/// A month: who renews by hand needs to hear of it in time, and a renewal by machine is overdue.
const SOON_SECONDS: i64 = 30 * 24 * 3600;

/// Looks at a bundle in PEM. Any certificate of it may be the one that signed, so that the last one
/// to end counts.
pub(super) fn fault(pem: &[u8], now: Timestamp) -> Option<Fault> {
    match last_end(pem) {
        Err(why) => Some(Fault::Unreadable(why)),
        Ok(end) if end <= now => Some(Fault::Expired(end)),
        Ok(end) if end.as_second() - now.as_second() < SOON_SECONDS => Some(Fault::Expiring(end)),
        Ok(_) => None,
    }
}

fn last_end(pem: &[u8]) -> Result<Timestamp, String> {
    let mut ends = vec![];
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| format!("no PEM: {error}"))?;
        let (_, parsed) =
            parse_x509_certificate(&certificate).map_err(|error| format!("no X.509: {error}"))?;
        let end = parsed.validity().not_after.timestamp();
        ends.push(Timestamp::from_second(end).unwrap_or(Timestamp::MAX));
    }
    ends.into_iter()
        .max()
        .ok_or_else(|| "no block `BEGIN CERTIFICATE`".to_owned())
}
