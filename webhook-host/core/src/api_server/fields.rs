//! Unknown fields of a Service, by the types of Kubernetes' API: each type says its fields when it
//! is decoded.

use super::Refusal;
use crate::decode::{join, suggestion};
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde::de::value::{BorrowedStrDeserializer, Error};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::cell::RefCell;

/// Returns the fields that a Service does not have, up to the first one of a wrong type.
pub(crate) fn unknown(service: &Value) -> Vec<Refusal> {
    let found = RefCell::new(vec![]);
    let decoded = Service::deserialize(Node {
        value: service,
        path: String::new(),
        found: &found,
    });
    // `admission` reports a wrong type, with the field.
    drop(decoded);
    found.into_inner()
}

fn refusal(path: &str, key: &str, known: &[&'static str]) -> Refusal {
    let hint = suggestion(key, known.iter().copied());
    let elsewhere = [
        ("spec", fields::<ServiceSpec>()),
        ("spec.ports[]", fields::<ServicePort>()),
        ("metadata", fields::<ObjectMeta>()),
    ];
    let home = elsewhere
        .iter()
        .find(|(home, fields)| *home != path && fields.contains(&key));
    let (problem, fix) = match home {
        _ if !hint.is_empty() => (format!("unknown field{hint}"), String::new()),
        Some((home, _)) => (
            "unknown field here".to_owned(),
            format!("write it in {home}"),
        ),
        None => (
            format!("unknown field; known here: {}", known.join(", ")),
            String::new(),
        ),
    };
    Refusal {
        field: join(path, key),
        problem,
        fix,
        words: None,
        at: None,
    }
}

/// A value that is being decoded as a type.
struct Node<'a> {
    value: &'a Value,
    path: String,
    found: &'a RefCell<Vec<Refusal>>,
}

impl<'de> Deserializer<'de> for Node<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let Node { value, path, found } = self;
        match value {
            Value::Null => visitor.visit_unit(),
            Value::Array(items) => visitor.visit_seq(Items {
                items: items.iter().enumerate(),
                path,
                found,
            }),
            Value::Object(map) => visitor.visit_map(Entries {
                entries: map.iter(),
                next: None,
                path,
                found,
            }),
            scalar => scalar.deserialize_any(visitor).map_err(Error::custom),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.value.is_null() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        for key in self
            .value
            .as_object()
            .into_iter()
            .flat_map(|object| object.keys())
        {
            if !known.contains(&key.as_str()) {
                self.found
                    .borrow_mut()
                    .push(refusal(&self.path, key, known));
            }
        }
        self.deserialize_any(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes
        byte_buf unit unit_struct
        seq tuple tuple_struct map enum identifier ignored_any
    }
}

struct Items<'a> {
    items: std::iter::Enumerate<std::slice::Iter<'a, Value>>,
    path: String,
    found: &'a RefCell<Vec<Refusal>>,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        let Some((index, value)) = self.items.next() else {
            return Ok(None);
        };
        seed.deserialize(Node {
            value,
            path: format!("{}[{index}]", self.path),
            found: self.found,
        })
        .map(Some)
    }
}

struct Entries<'a> {
    entries: serde_json::map::Iter<'a>,
    next: Option<(&'a str, &'a Value)>,
    path: String,
    found: &'a RefCell<Vec<Refusal>>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let Some((key, value)) = self.entries.next() else {
            return Ok(None);
        };
        self.next = Some((key, value));
        seed.deserialize(BorrowedStrDeserializer::new(key))
            .map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        let (key, value) = self
            .next
            .take()
            .ok_or_else(|| Error::custom("a value before its key"))?;
        seed.deserialize(Node {
            value,
            path: join(&self.path, key),
            found: self.found,
        })
    }
}

/// The fields of a type of Kubernetes' API.
fn fields<T: for<'de> Deserialize<'de>>() -> &'static [&'static str] {
    let names = RefCell::new(&[][..]);
    // It fails, once the fields are known.
    drop(T::deserialize(Names(&names)));
    names.into_inner()
}

struct Names<'a>(&'a RefCell<&'static [&'static str]>);

impl<'de> Deserializer<'de> for Names<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("has no fields"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Error> {
        self.0.replace(known);
        Err(Error::custom("the fields are known"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes
        byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::printable::sentence;
    use serde_json::json;

    fn found(service: Value) -> Vec<String> {
        unknown(&service)
            .iter()
            .map(|refusal| sentence(&refusal.field, &refusal.problem, &refusal.fix))
            .collect()
    }

    #[test]
    fn unknown_fields_have_the_nearest_known_name() {
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "type": "NodePort",
            "metadata": {"name": "web", "annotation": {}},
            "spec": {"selecter": {"any": "key"},
                "ports": [{"port": 80}, {"port": 81, "nodeport": 20080}], "name": "x"},
            "status": {"loadBalancer": {"ingress": [{"ips": "x"}]}},
        });
        let found = found(service);
        for (field, part) in [
            ("type", "write it in spec"),
            ("metadata.annotation", "did you mean \"annotations\"?"),
            ("spec.selecter", "did you mean \"selector\"?"),
            ("spec.ports[1].nodeport", "did you mean \"nodePort\"?"),
            ("spec.name", "write it in spec.ports[]"),
            ("status.loadBalancer.ingress[0].ips", "did you mean"),
        ] {
            let start = format!("{field}: ");
            assert!(
                found
                    .iter()
                    .any(|text| text.starts_with(&start) && text.contains(part)),
                "{field} in {found:#?}"
            );
        }
        assert_eq!(found.len(), 6, "{found:#?}");
    }

    #[test]
    fn known_fields_and_free_keys_are_not_found() {
        let service = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "web", "labels": {"any": "x"},
                "managedFields": [{"manager": "m", "fieldsV1": {"f:x": {}}}]},
            "spec": {"selector": {"any": "x"}, "ports": [{"port": 80, "targetPort": "http"}],
                "sessionAffinityConfig": null},
        });
        assert_eq!(found(service), Vec::<String>::new());
    }
}
