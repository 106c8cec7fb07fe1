//! The names of clouds' metadata services, which hand credentials of the Node to whoever asks from
//! there.
//!
//! Most are reached by an IP address (169.254.169.254) that needs no name.

/// A name: its first label and the domain that it is in.
#[derive(Debug, Clone, Copy)]
pub struct MetadataService {
    /// The first label, in lower case.
    pub host: &'static str,
    /// The domain, in lower case. Some clouds put a region between the two.
    pub domain: &'static str,
    /// Whose it is, and where that is known from.
    #[cfg(not(target_family = "wasm"))]
    pub source: &'static str,
}

impl MetadataService {
    /// Returns true if a name, in lower case and without a final dot, is this service's in any
    /// region.
    pub fn is_called(&self, name: &str) -> bool {
        let rest = name
            .strip_prefix(self.host)
            .and_then(|rest| rest.strip_suffix(self.domain));
        rest.is_some_and(|between| between.starts_with('.') && between.ends_with('.'))
    }
}

#[cfg_attr(
    target_family = "wasm",
    expect(unused_variables, reason = "the source is for people")
)]
const fn service(
    host: &'static str,
    domain: &'static str,
    source: &'static str,
) -> MetadataService {
    MetadataService {
        host,
        domain,
        #[cfg(not(target_family = "wasm"))]
        source,
    }
}

/// The names that are known.
pub static METADATA_SERVICES: [MetadataService; 9] = [
    service(
        "metadata",
        "google.internal",
        "Google Compute Engine; docs.cloud.google.com/compute/docs/metadata",
    ),
    service(
        "metadata",
        "goog",
        "Google Compute Engine's second name for it; the same page",
    ),
    service(
        "metadata",
        "azure.internal",
        "Azure; on the deny lists of many HTTP clients, not in Azure's documentation",
    ),
    service(
        "instance-data",
        "ec2.internal",
        "AWS EC2, us-east-1; from memory",
    ),
    service(
        "instance-data",
        "compute.internal",
        "AWS EC2, other regions, which stand between the two; from memory",
    ),
    service(
        "metadata",
        "tencentyun.com",
        "Tencent Cloud; cloud.tencent.com/developer/article/1883323",
    ),
    service(
        "api",
        "metadata.cloud.ibm.com",
        "IBM Cloud VPC; cloud.ibm.com/apidocs/vpc-identity",
    ),
    service(
        "metadata",
        "platformequinix.com",
        "Equinix Metal; pkg.go.dev/github.com/packethost/packngo/metadata",
    ),
    service(
        "metadata",
        "packet.net",
        "Equinix Metal's former name; pkg.go.dev/github.com/coreos/coreos-cloudinit",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_may_stand_between() {
        let is_known = |name: &str| {
            METADATA_SERVICES
                .iter()
                .any(|service| service.is_called(name))
        };
        assert!(
            is_known("metadata.google.internal")
                && is_known("metadata.goog")
                && is_known("instance-data.eu-west-1.compute.internal")
        );
        for name in [
            "google.internal",
            "metadata.evilgoogle.internal",
            "metadatagoogle.internal",
            "metadata",
            "",
        ] {
            assert!(!is_known(name), "{name}");
        }
    }
}
