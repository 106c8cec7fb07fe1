//! The facts of an X.509 certificate: its names, its usage and its period of validity.

use super::TlsError;
use jiff::Timestamp;
use std::net::IpAddr;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// A certificate expires soon when less than one in this many parts of its life is left. Usual
/// renewal happens with a third left.
const EXPIRES_SOON_DIVISOR: i64 = 6;

/// The facts of one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Common name and alternative names, each once.
    pub names: Vec<String>,
    /// The first second in which it is valid.
    pub not_before: Timestamp,
    /// The last second in which it is valid.
    pub not_after: Timestamp,
    /// True when it may authenticate a server, or doesn't restrict its usage.
    pub for_servers: bool,
}

impl Certificate {
    /// Parses a certificate in DER.
    ///
    /// # Errors
    ///
    /// Returns [`TlsError::Certificate`] when it is not a certificate.
    pub fn from_der(der: &[u8]) -> Result<Self, TlsError> {
        let invalid = |error: String| TlsError::Certificate(error);
        let (_, parsed) =
            X509Certificate::from_der(der).map_err(|error| invalid(error.to_string()))?;
        let second = |time: i64| {
            Timestamp::from_second(time)
                .map_err(|_| invalid("its dates are out of all range".to_owned()))
        };
        let usage = parsed
            .extended_key_usage()
            .map_err(|error| invalid(error.to_string()))?;
        Ok(Self {
            names: names(&parsed).map_err(invalid)?,
            not_before: second(parsed.validity().not_before.timestamp())?,
            not_after: second(parsed.validity().not_after.timestamp())?,
            for_servers: usage.is_none_or(|usage| usage.value.server_auth || usage.value.any),
        })
    }

    /// Returns why clients refuse it at this time or soon will, if they do.
    pub fn problem(&self, now: Timestamp) -> Option<String> {
        let Self {
            not_before,
            not_after,
            ..
        } = self;
        let life = not_after.as_second() - not_before.as_second();
        if now > *not_after {
            Some(format!(
                "expired at {not_after}: clients refuse it; renew it"
            ))
        } else if now < *not_before {
            Some(format!(
                "not valid before {not_before}, and here it is {now}: a clock is wrong, or it was \
                 made too early"
            ))
        } else if !self.for_servers {
            Some(
                "not for servers (its extended key usage lacks serverAuth): clients refuse it; \
                 issue it again"
                    .to_owned(),
            )
        } else if not_after.as_second() - now.as_second() < life / EXPIRES_SOON_DIVISOR {
            Some(format!(
                "expires at {not_after}, which is soon: it should have been renewed by now"
            ))
        } else {
            None
        }
    }
}

fn names(parsed: &X509Certificate<'_>) -> Result<Vec<String>, String> {
    let common = parsed
        .subject()
        .iter_common_name()
        .filter_map(|name| name.as_str().ok())
        .map(str::to_owned);
    let mut names: Vec<String> = common.collect();
    let alternative = parsed
        .subject_alternative_name()
        .map_err(|error| error.to_string())?;
    for name in alternative
        .iter()
        .flat_map(|extension| &extension.value.general_names)
    {
        let name = match name {
            GeneralName::DNSName(name) | GeneralName::URI(name) | GeneralName::RFC822Name(name) => {
                (*name).to_owned()
            }
            GeneralName::IPAddress(bytes) => match address(bytes) {
                Some(address) => address.to_string(),
                None => continue,
            },
            _ => continue,
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, date_time_ymd};

    fn certificate(usage: ExtendedKeyUsagePurpose) -> Certificate {
        let mut params = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()])
            .expect("names");
        (params.not_before, params.not_after) =
            (date_time_ymd(2026, 1, 1), date_time_ymd(2026, 4, 1));
        params.extended_key_usages = vec![usage];
        let made = params
            .self_signed(&KeyPair::generate().expect("a key"))
            .expect("a certificate");
        Certificate::from_der(made.der()).expect("a certificate")
    }

    fn problem_at(time: &str) -> String {
        let time = time.parse().expect("a time");
        certificate(ExtendedKeyUsagePurpose::ServerAuth)
            .problem(time)
            .unwrap_or_default()
    }

    #[test]
    fn each_phase_of_a_certificates_life_is_reported_with_its_date() {
        assert!(
            problem_at("2025-12-31T23:59:59Z").starts_with("not valid before 2026-01-01T00:00:00Z")
        );
        assert_eq!(problem_at("2026-01-01T00:00:00Z"), "");
        assert_eq!(problem_at("2026-03-16T23:00:00Z"), "");
        assert!(problem_at("2026-03-18T00:00:00Z").starts_with("expires at 2026-04-01T00:00:00Z"));
        assert!(problem_at("2026-04-01T00:00:01Z").starts_with("expired at 2026-04-01T00:00:00Z"));
    }

    #[test]
    fn a_certificate_for_clients_only_is_reported() {
        let certificate = certificate(ExtendedKeyUsagePurpose::ClientAuth);
        let problem = certificate.problem("2026-02-01T00:00:00Z".parse().expect("a time"));
        assert!(problem.is_some_and(|problem| problem.starts_with("not for servers")));
    }

    #[test]
    fn names_are_those_of_the_subject_and_the_alternatives() {
        let names = certificate(ExtendedKeyUsagePurpose::ServerAuth).names;
        assert!(
            names.contains(&"localhost".to_owned()) && names.contains(&"127.0.0.1".to_owned()),
            "{names:?}"
        );
    }
}
