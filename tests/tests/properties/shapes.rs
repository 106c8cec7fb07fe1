//! Strategies for JSON of any shape in place of a Service, and for captured reviews with damage.

use crate::review::Json;
use crate::services;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::LazyLock;

/// The reviews as an API server sent them.
static CAPTURED: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("admission-reviews");
    let mut files: Vec<_> = std::fs::read_dir(&directory)
        .expect("tests/admission-reviews")
        .map(|entry| entry.expect("a readable directory").path())
        .filter(|file| file.extension().is_some_and(|end| end == "json"))
        .collect();
    files.sort();
    let read = |file| {
        serde_json::from_slice(&std::fs::read(file).expect("a readable file")).expect("JSON")
    };
    files.iter().map(read).collect()
});

/// Generates any JSON, whose keys are often those of a Service.
fn anything() -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-70_000..70_000_i32).prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        select(vec![
            "LoadBalancer",
            "ClusterIP",
            "TCP",
            "8080",
            "\0",
            "\u{202e}"
        ])
        .prop_map(Value::from),
    ];
    let key = prop_oneof![
        4 => select(vec![
            "metadata", "spec", "status", "type", "ports", "port", "nodePort", "targetPort",
            "annotations", "labels",
            "selector", "externalIPs", "externalName", "loadBalancer", "ingress",
            "loadBalancerSourceRanges",
            "managedFields", "fieldsV1", "f:spec", "name", "namespace",
        ])
        .prop_map(str::to_owned),
        1 => ".{0,8}",
    ];
    leaf.prop_recursive(6, 48, 6, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            vec((key.clone(), inner), 0..6)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
    .boxed()
}

/// Generates any JSON, or a Service with parts of any shape.
pub(crate) fn any_object() -> BoxedStrategy<Value> {
    let parts = (anything(), anything(), services::any_service());
    let parts = (
        parts,
        select(vec![
            "/metadata",
            "/spec",
            "/spec/ports/0",
            "/spec/ports",
            "/status",
        ]),
    );
    let within = parts.prop_map(|((part, other, Json(mut service)), place)| {
        for (place, part) in [(place, part), ("/spec/selector", other)] {
            if let Some(found) = service.pointer_mut(place) {
                *found = part;
            }
        }
        service
    });
    prop_oneof![anything(), within].boxed()
}

/// Generates a Service in which nodes were replaced, removed or duplicated.
pub(crate) fn broken_service() -> BoxedStrategy<Value> {
    (services::any_service(), vec(damage(), 1..3))
        .prop_map(|(Json(mut service), damages)| {
            damages.iter().for_each(|damage| damage.to(&mut service));
            service
        })
        .boxed()
}

/// The roots of the damage. Most are inside of the object, since damage elsewhere reaches no
/// policy.
const ROOTS: [&str; 6] = [
    "/request/object",
    "/request/object",
    "/request/object",
    "/request/oldObject",
    "/request",
    "",
];

/// Generates a captured review with damage.
pub(crate) fn broken_review() -> BoxedStrategy<Json> {
    (select(CAPTURED.as_slice()), vec(damage(), 1..4))
        .prop_map(|(mut review, damages)| {
            for damage in damages {
                let part = *damage.root.get(&ROOTS);
                if let Some(part) = review.pointer_mut(part) {
                    damage.to(part);
                }
            }
            Json(review)
        })
        .boxed()
}

/// The damage to one node.
#[derive(Debug, Clone)]
struct Damage {
    root: Index,
    place: Index,
    deed: Deed,
}

#[derive(Debug, Clone)]
enum Deed {
    Replace(Value),
    /// Replaces the value by another one of the same type, so that it still decodes.
    Twist(i32, String),
    Remove,
    Double,
}

fn damage() -> BoxedStrategy<Damage> {
    let value = prop_oneof![
        anything(),
        select(vec![
            json!(null),
            json!(""),
            json!([]),
            json!({}),
            json!(0),
            json!(-1),
            json!(1e300),
            json!("None")
        ]),
    ];
    let word = prop_oneof![
        select(vec![
            "LoadBalancer",
            "NodePort",
            "ExternalName",
            "None",
            "Local",
            "redis",
            "0.0.0.0/0",
            ""
        ])
        .prop_map(str::to_owned),
        ".{0,12}",
    ];
    let number = prop_oneof![-1..70_000, any::<i32>()];
    let twist = (number, word).prop_map(|(number, word)| Deed::Twist(number, word));
    let deed = prop_oneof![3 => twist, 3 => value.prop_map(Deed::Replace), 2 => Just(Deed::Remove),
        1 => Just(Deed::Double)];
    (any::<Index>(), any::<Index>(), deed)
        .prop_map(|(root, place, deed)| Damage { root, place, deed })
        .boxed()
}

impl Damage {
    fn to(&self, root: &mut Value) {
        let mut paths = vec![];
        list(root, "", &mut paths);
        let path = self.place.get(&paths).as_str();
        match (&self.deed, path.rsplit_once('/')) {
            (Deed::Replace(value), _) => {
                *root.pointer_mut(path).expect("a path of it") = value.clone()
            }
            (Deed::Twist(number, word), _) => match root.pointer_mut(path).expect("a path of it") {
                Value::String(text) => *text = word.clone(),
                Value::Number(found) => *found = (*number).into(),
                Value::Bool(flag) => *flag = !*flag,
                _ => {}
            },
            (_, None) => {}
            (deed, Some((parent, last))) => {
                let key = last.replace("~1", "/").replace("~0", "~");
                match root.pointer_mut(parent).expect("a path of it") {
                    Value::Object(map) if matches!(deed, Deed::Remove) => _ = map.remove(&key),
                    Value::Object(map) => {
                        let value = map[&key].clone();
                        map.insert(format!("{key}2"), value);
                    }
                    Value::Array(list) => {
                        let index: usize = last.parse().expect("an index");
                        let value = list.remove(index);
                        if matches!(deed, Deed::Double) {
                            list.extend([value.clone(), value]);
                        }
                    }
                    _ => {}
                }
            }
        }
    }
}

/// Lists the JSON pointers of all nodes.
fn list(value: &Value, path: &str, paths: &mut Vec<String>) {
    paths.push(path.to_owned());
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                list(
                    value,
                    &format!("{path}/{}", key.replace('~', "~0").replace('/', "~1")),
                    paths,
                );
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                list(value, &format!("{path}/{index}"), paths);
            }
        }
        _ => {}
    }
}
