//! The destination of an ExternalName, as rule S09 tells the names apart.

use sallyport_facts::aliases::{Never, is_api_server, is_internal, never};
use sallyport_policy::dns::normal;

/// The domain of clusters whose operator chose no other one.
const CLUSTER_DOMAINS: [&str; 1] = ["cluster.local"];

/// Returns what a name is, as the object of a sentence.
pub(crate) fn destination(name: &str) -> &'static str {
    let name = normal(name);
    match never(&name) {
        Some(Never::Address) => "an IP address, which is no name to DNS, but an address to proxies",
        Some(Never::Localhost) => "whatever machine asks for it",
        Some(Never::Metadata) => "a cloud's metadata service, which hands out credentials",
        None if is_api_server(&name) => "the API server of this cluster",
        None if is_internal(&name, &CLUSTER_DOMAINS) => "a name inside the cluster",
        None if name.is_empty() => "nothing",
        None if !name.contains('.') => {
            "what each resolver's search path makes of a name without dots"
        }
        None => "a name outside",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_name_is_told() {
        for (name, expected) in [
            ("db.example.com", "a name outside"),
            (
                "KUBERNETES.default.svc.cluster.local.",
                "the API server of this cluster",
            ),
            ("kubernetes.default", "the API server of this cluster"),
            ("db.shop.svc", "a name inside the cluster"),
            ("db.shop.svc.cluster.local", "a name inside the cluster"),
            (
                "metadata.google.internal",
                "a cloud's metadata service, which hands out credentials",
            ),
            ("localhost", "whatever machine asks for it"),
            ("", "nothing"),
        ] {
            assert_eq!(destination(name), expected, "{name}");
        }
        assert!(destination("127.1").contains("IP address"));
        assert!(destination("db").contains("search path"));
    }
}
