//! Holds the contract's records against the fields of Kubernetes' API, so that a field of a new
//! release is noticed: it belongs into the contract, or into the lists of fields that are left out
//! here and in `docs/contract.md`.

use crate::contract;
use k8s_openapi::api::authentication::v1::UserInfo;
use k8s_openapi::api::core::v1::{
    ClientIPConfig, LoadBalancerIngress, LoadBalancerStatus, PortStatus, ServicePort, ServiceSpec,
    ServiceStatus, SessionAffinityConfig,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, OwnerReference};
use serde::de::{Deserialize, Deserializer, Error as _, Visitor};
use std::collections::BTreeSet;
use wit_parser::{Resolve, SourceMap, TypeDefKind};

/// Records the fields that a struct asks for, and then fails.
struct Fields<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Fields<'_> {
    type Error = serde::de::value::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = fields;
        Err(Self::Error::custom("asked for nothing but the fields"))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(Self::Error::custom("no struct"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

fn fields<'de, T: Deserialize<'de>>() -> BTreeSet<String> {
    let mut fields: &[&str] = &[];
    assert!(T::deserialize(Fields(&mut fields)).is_err());
    fields.iter().map(|field| plain(field)).collect()
}

/// Replaces a member that has a struct of its own by that struct's fields, because the contract's
/// records are flat.
fn flat<'de, T: Deserialize<'de>>(fields: BTreeSet<String>, member: &str) -> BTreeSet<String> {
    let inner = self::fields::<T>();
    let others = fields.into_iter().filter(|field| field != member);
    let inner = inner.iter().map(|field| format!("{member}{field}"));
    others.chain(inner).collect()
}

/// `clusterIPs` and `cluster-ips` are the same name.
fn plain(name: &str) -> String {
    name.replace('-', "").to_lowercase()
}

/// Returns the fields of a record of the contract, but for those that only the contract has.
fn record(interface: &str, name: &str, own: &[&str]) -> BTreeSet<String> {
    let mut resolve = Resolve::default();
    let mut source = SourceMap::default();
    for (path, text) in contract::WIT {
        source.push_str(path, text);
    }
    let group = source.parse().map_err(|(_, error)| error).expect("WIT");
    resolve.push_group(group).expect("WIT");
    let (_, interface) = resolve
        .interfaces
        .iter()
        .find(|(_, found)| found.name.as_deref() == Some(interface))
        .expect("an interface of the contract");
    let TypeDefKind::Record(record) = &resolve.types[interface.types[name]].kind else {
        panic!("{name} is no record");
    };
    let fields = record.fields.iter().map(|field| field.name.as_str());
    let fields: Vec<_> = fields.collect();
    for own in own {
        assert!(fields.contains(own), "{name} has no {own}");
    }
    let shared = fields.into_iter().filter(|field| !own.contains(field));
    shared.map(plain).collect()
}

fn without(fields: BTreeSet<String>, left_out: &[&str]) -> BTreeSet<String> {
    let left_out: BTreeSet<_> = left_out.iter().map(|field| plain(field)).collect();
    assert!(left_out.is_subset(&fields), "{left_out:?}");
    fields.difference(&left_out).cloned().collect()
}

#[test]
fn the_contract_has_every_field_of_a_service() {
    let by_client = [
        "external-traffic-policy-by-client",
        "health-check-node-port-by-client",
        "allocate-load-balancer-node-ports-by-client",
    ];
    assert_eq!(
        fields::<ServiceSpec>(),
        record("service", "spec", &by_client)
    );
    assert_eq!(
        fields::<ServicePort>(),
        record("service", "port", &["node-port-by-client"])
    );
    assert_eq!(
        flat::<ClientIPConfig>(fields::<SessionAffinityConfig>(), "clientip"),
        record("service", "session-affinity-config", &[])
    );
    assert_eq!(
        flat::<LoadBalancerStatus>(fields::<ServiceStatus>(), "loadbalancer"),
        record("service", "status", &[])
    );
    assert_eq!(
        fields::<LoadBalancerIngress>(),
        record("service", "ingress", &[])
    );
    assert_eq!(
        fields::<PortStatus>(),
        record("service", "port-status", &[])
    );
    assert_eq!(fields::<Condition>(), record("service", "condition", &[]));
}

#[test]
fn the_contract_has_the_metadata_that_clients_write() {
    let left_out = [
        "deletionGracePeriodSeconds",
        "managedFields",
        "resourceVersion",
        "selfLink",
    ];
    assert_eq!(
        without(fields::<ObjectMeta>(), &left_out),
        record("service", "metadata", &[])
    );
    assert_eq!(
        fields::<OwnerReference>(),
        record("service", "owner-reference", &[])
    );
}

#[test]
fn the_contract_has_everything_about_the_user() {
    let user = without(fields::<UserInfo>(), &["username"]);
    assert_eq!(user, record("review", "user", &["name"]));
}
