//! Checks of a `caBundle`: it must exist, parse, and hold a certificate that is valid for some
//! time.

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::parse_x509_certificate;

/// A fault of a bundle.
pub(super) enum Fault {
    /// No certificate of the bundle can be parsed; the reason.
    Unreadable(String),
    /// Every certificate has expired; the time when the last one did.
    Expired(Timestamp),
    /// The last certificate expires soon; the time.
    Expiring(Timestamp),
}

/// 30 days: enough time to renew by hand, and too late for any automatic renewal that works.
const EXPIRES_SOON_SECONDS: i64 = 30 * 24 * 3600;

/// Checks a bundle in PEM. Any of its certificates may be the signer, so the last one to expire
/// counts.
pub(super) fn fault(pem: &[u8], now: Timestamp) -> Option<Fault> {
    match last_end(pem) {
        Err(why) => Some(Fault::Unreadable(why)),
        Ok(end) if end <= now => Some(Fault::Expired(end)),
        Ok(end) if end.as_second() - now.as_second() < EXPIRES_SOON_SECONDS => {
            Some(Fault::Expiring(end))
        }
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
