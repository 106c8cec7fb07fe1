//! The type of a policy's settings, read from the component's `configure` and `defaults`.
//!
//! A component declares types by reference, so a few bytes can declare a type of any size. This
//! module expands types, with bounds on their parts and on their depth.

use super::ComponentError;
use crate::contract;
use crate::settings::{Integer, MAX_PARTS, Record, Type};
use std::collections::BTreeSet;
use wasmparser::PrimitiveValType;
use wasmparser::component_types::{
    ComponentAnyTypeId, ComponentDefinedType, ComponentDefinedTypeId, ComponentEntityType,
    ComponentFuncType, ComponentValType,
};
use wasmparser::types::Types;

/// Levels of nested types. Settings of honest policies have 4; bounded because readers recurse.
const MAX_DEPTH: usize = 32;

/// Reads the type of the settings of a component with these imports; `None` when it has none.
pub(super) fn read(types: &Types, imports: &[String]) -> Result<Option<Record>, ComponentError> {
    let function = |name| match types.component_item_for_export(name)?.ty {
        ComponentEntityType::Func(id) => Some(&types[id]),
        _ => None,
    };
    let (configure, defaults) = match (function("configure"), function("defaults")) {
        (None, None) => return Ok(None),
        (Some(configure), Some(defaults)) => (configure, defaults),
        (Some(_), None) => return Err(defaults_form()),
        (None, Some(_)) => return Err(configure_form()),
    };
    let [(_, settings)] = &*configure.params else {
        return Err(configure_form());
    };
    if !is_record(types, *settings) || !gives_settings_errors(types, configure) {
        return Err(configure_form());
    }
    let (Some(returned), []) = (defaults.result, &*defaults.params) else {
        return Err(defaults_form());
    };
    let json = json(types, imports);
    let read = |ty| Reader::new(types, &json).value(ty, MAX_DEPTH);
    let settings = read(*settings)?;
    match settings {
        Type::Record(record) if read(returned)? == Type::Record(record.clone()) => Ok(Some(record)),
        _ => Err(defaults_form()),
    }
}

/// Returns the contract's type `json`, as each of its interfaces exports it.
///
/// The type is an alias of `string`. Aliases keep their identity in a component, since WIT is read
/// back from components by it; a component that lost it has a field of type `string`.
fn json(types: &Types, imports: &[String]) -> BTreeSet<ComponentDefinedTypeId> {
    let of_contract = |name: &&String| {
        name.strip_prefix(contract::PACKAGE)
            .is_some_and(|rest| rest.starts_with('/'))
    };
    let exported = |name: &String| {
        let ComponentEntityType::Instance(instance) = types.component_item_for_import(name)?.ty
        else {
            return None;
        };
        match types[instance].exports.get("json")?.ty {
            ComponentEntityType::Type {
                created: ComponentAnyTypeId::Defined(id),
                ..
            } => Some(id),
            _ => None,
        }
    };
    imports
        .iter()
        .filter(of_contract)
        .filter_map(exported)
        .collect()
}

/// Expands types, counting their parts.
struct Reader<'a> {
    types: &'a Types,
    /// The contract's type `json`.
    json: &'a BTreeSet<ComponentDefinedTypeId>,
    parts: usize,
}

impl<'a> Reader<'a> {
    fn new(types: &'a Types, json: &'a BTreeSet<ComponentDefinedTypeId>) -> Self {
        Self {
            types,
            json,
            parts: 0,
        }
    }

    /// Returns true for the contract's `json`, by whatever name.
    fn is_json(&self, id: ComponentDefinedTypeId) -> bool {
        let mut names = std::iter::successors(Some(id), |id| self.types.peel_alias(*id));
        names.any(|id| self.json.contains(&id))
    }

    fn value(&mut self, ty: ComponentValType, depth: usize) -> Result<Type, ComponentError> {
        self.count(1)?;
        let id = match ty {
            ComponentValType::Primitive(ty) => return primitive(ty),
            ComponentValType::Type(id) => id,
        };
        let Some(depth) = depth.checked_sub(1) else {
            return Err(ComponentError::Bound(format!(
                "its settings have more than {MAX_DEPTH} levels of types in types; use fewer"
            )));
        };
        let types = self.types;
        Ok(match &types[id] {
            ComponentDefinedType::Primitive(_) if self.is_json(id) => Type::Json,
            ComponentDefinedType::Primitive(ty) => primitive(*ty)?,
            ComponentDefinedType::Record(record) => {
                let fields = record
                    .fields
                    .iter()
                    .map(|(name, ty)| Ok((name.to_string(), self.value(*ty, depth)?)));
                Type::Record(Record(fields.collect::<Result<_, _>>()?))
            }
            ComponentDefinedType::Variant(variant) => {
                let cases = variant.cases.iter().map(|(name, case)| {
                    let ty = case.ty.map(|ty| self.value(ty, depth)).transpose()?;
                    Ok((name.to_string(), ty))
                });
                Type::Variant(cases.collect::<Result<_, _>>()?)
            }
            ComponentDefinedType::List { element, .. } => {
                Type::List(Box::new(self.value(*element, depth)?))
            }
            ComponentDefinedType::Option { ty, .. } => {
                Type::Option(Box::new(self.value(*ty, depth)?))
            }
            ComponentDefinedType::Tuple(tuple) => {
                let parts = tuple.types.iter().map(|ty| self.value(*ty, depth));
                Type::Tuple(parts.collect::<Result<_, _>>()?)
            }
            ComponentDefinedType::Enum(cases) => {
                self.count(cases.len())?;
                Type::Enum(cases.iter().map(ToString::to_string).collect())
            }
            ComponentDefinedType::Flags(names) => {
                self.count(names.len())?;
                Type::Flags(names.iter().map(ToString::to_string).collect())
            }
            _ => return Err(foreign()),
        })
    }

    fn count(&mut self, parts: usize) -> Result<(), ComponentError> {
        self.parts += parts;
        if self.parts <= MAX_PARTS {
            return Ok(());
        }
        Err(ComponentError::Bound(format!(
            "its settings consist of more than {MAX_PARTS} fields and types, counted where they \
             are used; use a list or fewer fields"
        )))
    }
}

fn primitive(ty: PrimitiveValType) -> Result<Type, ComponentError> {
    Ok(match ty {
        PrimitiveValType::Bool => Type::Bool,
        PrimitiveValType::S8 => Type::Integer(Integer::S8),
        PrimitiveValType::U8 => Type::Integer(Integer::U8),
        PrimitiveValType::S16 => Type::Integer(Integer::S16),
        PrimitiveValType::U16 => Type::Integer(Integer::U16),
        PrimitiveValType::S32 => Type::Integer(Integer::S32),
        PrimitiveValType::U32 => Type::Integer(Integer::U32),
        PrimitiveValType::S64 => Type::Integer(Integer::S64),
        PrimitiveValType::U64 => Type::Integer(Integer::U64),
        PrimitiveValType::F32 => Type::Float32,
        PrimitiveValType::F64 => Type::Float64,
        PrimitiveValType::Char => Type::Char,
        PrimitiveValType::String => Type::String,
        PrimitiveValType::ErrorContext => return Err(foreign()),
    })
}

fn defined(types: &Types, ty: ComponentValType) -> Option<&ComponentDefinedType> {
    match ty {
        ComponentValType::Type(id) => Some(&types[id]),
        ComponentValType::Primitive(_) => None,
    }
}

fn is_record(types: &Types, ty: ComponentValType) -> bool {
    matches!(defined(types, ty), Some(ComponentDefinedType::Record(_)))
}

/// Returns true if a function returns `result<_, list<settings-error>>`; a settings-error is a
/// record of two strings.
fn gives_settings_errors(types: &Types, configure: &ComponentFuncType) -> bool {
    let result = configure.result.and_then(|ty| defined(types, ty));
    let Some(ComponentDefinedType::Result {
        ok: None,
        err: Some(errors),
        ..
    }) = result
    else {
        return false;
    };
    let Some(ComponentDefinedType::List { element, .. }) = defined(types, *errors) else {
        return false;
    };
    let Some(ComponentDefinedType::Record(error)) = defined(types, *element) else {
        return false;
    };
    let is_string = |ty: &ComponentValType| match (ty, defined(types, *ty)) {
        (ComponentValType::Primitive(ty), _) | (_, Some(ComponentDefinedType::Primitive(ty))) => {
            *ty == PrimitiveValType::String
        }
        _ => false,
    };
    error.fields.len() == 2 && error.fields.values().all(is_string)
}

fn configure_form() -> ComponentError {
    ComponentError::SettingsFunctions {
        function: "configure",
        expected: "func(settings: settings) -> result<_, list<settings-error>> with a record \
            `settings`",
    }
}

fn defaults_form() -> ComponentError {
    ComponentError::SettingsFunctions {
        function: "defaults",
        expected: "func() -> settings",
    }
}

fn foreign() -> ComponentError {
    ComponentError::SettingsFunctions {
        function: "settings",
        expected: "a record of texts, numbers, booleans, lists, tuples, options, records, enums, \
            variants and flags, without results, maps, resources and streams",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmparser::{Parser, ValidPayload, Validator};

    /// Returns the settings type of a component that declares these types. The last one is the only
    /// parameter of an imported function.
    fn parameter(types: &[&[u8]]) -> Result<Type, ComponentError> {
        let last = u8::try_from(types.len()).expect("few") - 1;
        let function = [0x40, 1, 1, b'x', last, 1, 0];
        let declared = [&[last + 2][..], &types.concat(), &function].concat();
        let import = [1, 0, 1, b'f', 1, last + 1];
        let section = |id, content: &[u8]| {
            [&[id, u8::try_from(content.len()).expect("short")], content].concat()
        };
        let component = [
            b"\0asm\x0d\0\x01\0",
            &*section(7, &declared),
            &section(10, &import),
        ]
        .concat();
        let mut validator = Validator::new();
        let mut read = None;
        for payload in Parser::new(0).parse_all(&component) {
            let payload = payload.expect("well-formed");
            if let ValidPayload::End(types) = validator.payload(&payload).expect("valid") {
                let item = types.component_item_for_import("f").expect("imported");
                let ComponentEntityType::Func(id) = item.ty else {
                    panic!("a function")
                };
                let ty = types[id].params[0].1;
                read = Some(Reader::new(&types, &BTreeSet::new()).value(ty, MAX_DEPTH));
            }
        }
        read.expect("it has an end")
    }

    /// Returns a pair of pairs of pairs and so on, each part of which is the same type.
    fn pairs(levels: u8) -> Result<Type, ComponentError> {
        let first: &[u8] = &[0x6f, 2, 0x7d, 0x7d];
        let more: Vec<[u8; 4]> = (0..levels)
            .map(|before| [0x6f, 2, before, before])
            .collect();
        let more = more.iter().map(|ty| ty.as_slice());
        parameter(&std::iter::once(first).chain(more).collect::<Vec<_>>())
    }

    #[test]
    fn a_type_is_read_as_it_was_declared() {
        let byte = || Type::Integer(Integer::U8);
        assert_eq!(pairs(0), Ok(Type::Tuple(vec![byte(), byte()])));
        // list<string>, option<that>
        assert_eq!(
            parameter(&[&[0x70, 0x73], &[0x6b, 0]]),
            Ok(Type::Option(Box::new(Type::List(Box::new(Type::String)))))
        );
    }

    #[test]
    fn parts_are_counted_where_they_are_used() {
        let bound = "its settings consist of more than 10000 fields and types";
        assert!(pairs(5).is_ok());
        let error = pairs(17).expect_err("262,143 parts").to_string();
        assert!(error.contains(bound), "{error}");
    }

    #[test]
    fn a_type_that_nests_too_deeply_is_refused() {
        let lists: Vec<[u8; 2]> = std::iter::once([0x70, 0x73])
            .chain((0..40).map(|before| [0x70, before]))
            .collect();
        let lists: Vec<_> = lists.iter().map(|ty| ty.as_slice()).collect();
        assert!(parameter(&lists[..30]).is_ok());
        let error = parameter(&lists).expect_err("deep").to_string();
        assert!(error.contains("more than 32 levels"), "{error}");
    }

    #[test]
    fn what_manifests_cannot_write_is_refused() {
        // result
        let error = parameter(&[&[0x6a, 0, 0]])
            .expect_err("a result")
            .to_string();
        assert!(
            error.starts_with("the world's settings must be a record of"),
            "{error}"
        );
    }
}
