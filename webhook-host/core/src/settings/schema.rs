//! The JSON Schema of a policy's settings: types and defaults from the component, descriptions from
//! the author's WIT.
//!
//! Doc comments don't survive into a component, so the SDK embeds the WIT text; without it the
//! schema has no descriptions.

use super::{Record, Type, Value as Setting, case_name, json_integer, manifest_name};
use serde_json::{Map, Value, json};
use wit_parser::{SourceMap, Type as WitType, TypeDef, TypeDefKind, TypeId, UnresolvedPackage};

/// Writes the JSON Schema (draft 2020-12) of a policy's settings. `wit` is the author's text, from
/// which descriptions come.
pub fn schema(settings: &Record, defaults: &Setting, wit: Option<&str>) -> Value {
    let docs = Docs::parse(wit);
    let root = docs.as_ref().and_then(|docs| docs.named("settings"));
    let mut schema = Schema {
        docs: docs.as_ref(),
    }
    .record(settings, root);
    add_defaults(&mut schema, &defaults.to_json());
    let object = schema.as_object_mut().expect("a schema is an object");
    object.insert(
        "$schema".into(),
        "https://json-schema.org/draft/2020-12/schema".into(),
    );
    object.remove("required");
    schema
}

/// Adds the default to every property that has one. Properties of a nested record that has a
/// default are no longer required.
fn add_defaults(schema: &mut Value, defaults: &Value) {
    let (Some(properties), Some(defaults)) = (
        schema.get_mut("properties").and_then(Value::as_object_mut),
        defaults.as_object(),
    ) else {
        return;
    };
    for (name, default) in defaults {
        let Some(property) = properties.get_mut(name) else {
            continue;
        };
        if property.get("properties").is_some() {
            add_defaults(property, default);
            property
                .as_object_mut()
                .map(|property| property.remove("required"));
        } else if !default.is_null() {
            // An empty list of pairs is an empty mapping.
            let is_map = property["type"] == "object";
            property["default"] = if is_map && default == &json!([]) {
                json!({})
            } else {
                default.clone()
            };
        }
    }
}

/// The author's WIT, parsed for its doc comments alone.
struct Docs {
    package: UnresolvedPackage,
}

impl Docs {
    fn parse(wit: Option<&str>) -> Option<Self> {
        Some(Self {
            package: parse(wit?)?,
        })
    }

    fn named(&self, name: &str) -> Option<TypeId> {
        self.package
            .types
            .iter()
            .find(|(_, ty)| ty.name.as_deref() == Some(name))
            .map(|(id, _)| id)
    }

    /// Follows aliases to the type itself.
    fn def(&self, id: TypeId) -> &TypeDef {
        let def = &self.package.types[id];
        match &def.kind {
            TypeDefKind::Type(WitType::Id(aliased)) => self.def(*aliased),
            _ => def,
        }
    }
}

/// Returns the author's package; what it takes from the contract stays unresolved.
pub(crate) fn parse(wit: &str) -> Option<UnresolvedPackage> {
    let mut source = SourceMap::new();
    source.push_str("policy.wit", wit);
    source.parse().ok().map(|group| group.main)
}

fn id(ty: &WitType) -> Option<TypeId> {
    match ty {
        WitType::Id(id) => Some(*id),
        _ => None,
    }
}

/// Walks the component's type, and the author's where there is one.
struct Schema<'a> {
    docs: Option<&'a Docs>,
}

impl Schema<'_> {
    fn of(&self, ty: &Type, wit: Option<TypeId>) -> Value {
        match ty {
            Type::Bool => json!({"type": "boolean"}),
            Type::Char => json!({"type": "string", "minLength": 1, "maxLength": 1}),
            Type::String => json!({"type": "string"}),
            Type::Float32 | Type::Float64 => json!({"type": "number"}),
            Type::Option(option) => self.option(option, self.inner(wit, 0)),
            Type::Record(record) => self.record(record, wit),
            Type::List(list) => self.list(list, wit),
            Type::Tuple(tuple) => {
                let items: Vec<Value> = tuple
                    .iter()
                    .enumerate()
                    .map(|(i, ty)| self.of(ty, self.inner(wit, i)))
                    .collect();
                json!({"type": "array", "minItems": items.len(), "maxItems": items.len(),
                    "prefixItems": items})
            }
            Type::Enum(cases) => json!({"enum": names(cases)}),
            Type::Flags(flags) => json!({"type": "array", "items": {"enum": names(flags)}}),
            Type::Variant(cases) => self.variant(cases),
            Type::Json => json!({}),
            Type::Integer(ty) => {
                let (min, max) = ty.bounds();
                json!({"type": "integer", "minimum": json_integer(min),
                    "maximum": json_integer(max)})
            }
        }
    }

    /// Returns the author's type of a list's items, an option's value or a tuple's part.
    fn inner(&self, wit: Option<TypeId>, index: usize) -> Option<TypeId> {
        match &self.docs?.def(wit?).kind {
            TypeDefKind::List(ty) | TypeDefKind::Option(ty) => id(ty),
            TypeDefKind::Tuple(tuple) => tuple.types.get(index).and_then(id),
            _ => None,
        }
    }

    fn option(&self, ty: &Type, wit: Option<TypeId>) -> Value {
        json!({"anyOf": [self.of(ty, wit), {"type": "null"}]})
    }

    fn list(&self, ty: &Type, wit: Option<TypeId>) -> Value {
        let item = self.inner(wit, 0);
        match Type::mapped(ty) {
            Some(value) => {
                json!({"type": "object",
                    "additionalProperties": self.of(value, self.inner(item, 1))})
            }
            None => json!({"type": "array", "items": self.of(ty, item)}),
        }
    }

    fn variant(&self, cases: &[(String, Option<Type>)]) -> Value {
        let cases = cases.iter().map(|(case, ty)| match ty {
            None => json!({"const": case_name(case)}),
            Some(ty) => {
                let name = case_name(case);
                json!({"type": "object", "properties": {&name: self.of(ty, None)},
                    "required": [&name], "additionalProperties": false})
            }
        });
        json!({"oneOf": cases.collect::<Vec<_>>()})
    }

    fn record(&self, Record(fields): &Record, wit: Option<TypeId>) -> Value {
        let (mut properties, mut required) = (Map::new(), vec![]);
        for (field, ty) in fields {
            let name = manifest_name(field);
            let (docs, wit) = self.field(wit, field);
            let mut property = self.of(ty, wit);
            if let (Some(docs), Some(property)) = (docs, property.as_object_mut()) {
                property.insert("description".into(), docs.into());
            }
            if !matches!(ty, Type::Option(_)) {
                required.push(Value::from(name.as_str()));
            }
            properties.insert(name, property);
        }
        json!({"type": "object", "properties": properties, "required": required,
            "additionalProperties": false})
    }

    /// Returns the doc comment of a record's field and the author's type of it.
    fn field(&self, wit: Option<TypeId>, name: &str) -> (Option<String>, Option<TypeId>) {
        let record = self.docs.zip(wit).map(|(docs, wit)| &docs.def(wit).kind);
        let Some(TypeDefKind::Record(record)) = record else {
            return (None, None);
        };
        let Some(field) = record.fields.iter().find(|field| field.name == name) else {
            return (None, None);
        };
        let docs = field
            .docs
            .contents
            .as_deref()
            .map(|docs| docs.split_whitespace().collect::<Vec<_>>().join(" "));
        (docs, id(&field.ty))
    }
}

fn names(cases: &[String]) -> Vec<String> {
    cases.iter().map(|case| case_name(case)).collect()
}
