//! Creates keys and certificates with `rcgen`. Used by `material`. All times are arguments.

use crate::tls::TlsError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use std::fmt::Write as _;
use std::time::Duration;

/// The time by which `notBefore` precedes the creation, for clients whose clocks are behind.
pub(super) const SKEW: SignedDuration = SignedDuration::from_mins(5);

/// Characters of a PEM line (RFC 7468).
const LINE: usize = 64;

/// Creates an authority with this lifetime. Returns its certificate and key as PEM.
pub(super) fn authority(
    life: SignedDuration,
    now: Timestamp,
) -> Result<(String, String), TlsError> {
    let mut params = CertificateParams::default();
    // Each authority has a name of its own, by which clients find the right one among several.
    params.distinguished_name = name(&format!("Sallyport CA {now}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    within(&mut params, (now, now + life));
    let key = KeyPair::generate().map_err(failed)?;
    let made = params.self_signed(&key).map_err(failed)?;
    Ok((pem(made.der()), key.serialize_pem()))
}

/// Creates a server certificate signed by an authority. Returns certificate and key as PEM.
pub(super) fn leaf(
    authority: &str,
    key: &str,
    names: &[String],
    time: (Timestamp, Timestamp),
) -> Result<(String, String), TlsError> {
    let issuer = Issuer::from_ca_cert_pem(authority, KeyPair::from_pem(key).map_err(failed)?)
        .map_err(failed)?;
    let mut params = CertificateParams::new(names).map_err(failed)?;
    // A common name has at most 64 characters, and clients read the alternative names alone.
    params.distinguished_name = name("sallyport");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    within(&mut params, time);
    let key = KeyPair::generate().map_err(failed)?;
    let made = params.signed_by(&key, &issuer).map_err(failed)?;
    Ok((pem(made.der()), key.serialize_pem()))
}

/// Encodes a certificate as PEM. Lines end in LF alone, so that the Secret is read back unchanged.
pub(super) fn pem(der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let mut text = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for line in base64.as_bytes().chunks(LINE) {
        let _ = writeln!(text, "{}", String::from_utf8_lossy(line));
    }
    text + "-----END CERTIFICATE-----\n"
}

fn within(params: &mut CertificateParams, (start, end): (Timestamp, Timestamp)) {
    let epoch = date_time_ymd(1970, 1, 1);
    let time = |time: Timestamp| epoch + Duration::from_secs(time.as_second().unsigned_abs());
    (params.not_before, params.not_after) = (time(start - SKEW), time(end));
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

fn failed(error: rcgen::Error) -> TlsError {
    TlsError::Generate(error.to_string())
}
