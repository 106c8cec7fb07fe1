//! Lists, maps and structs, whose elements must be of one type.

use super::{Checked, Checker};
use crate::ast::{Element, Expr, Field, Pair};
use crate::program::Plan;
use crate::types::{Opaque, Type, most_general};
use alloc::format;
use alloc::vec::Vec;

impl Checker<'_> {
    pub(super) fn check_list(&mut self, elements: &[Element]) -> Checked {
        let mut joined: Option<Type> = None;
        let mut first = None;
        let mut plans = Vec::with_capacity(elements.len());
        for element in elements {
            let (found, plan) = self.check(&element.value);
            let found = self.unwrapped(&element.value, found, element.is_optional);
            self.must_be_alike(element.value.offset, &first, &found);
            first.get_or_insert_with(|| found.clone());
            joined = Some(self.join(joined, found));
            plans.push((plan, element.is_optional));
        }
        let element = joined.unwrap_or_else(|| self.mapping.fresh());
        let constants: Option<Vec<_>> = plans
            .iter()
            .map(|(plan, is_optional)| match plan {
                Plan::Constant(value) if !is_optional => Some(value.clone()),
                _ => None,
            })
            .collect();
        let plan = match constants {
            Some(values) => Plan::Constant(values.into()),
            None => Plan::List(plans.into()),
        };
        (Type::list(element), plan)
    }

    pub(super) fn check_map(&mut self, pairs: &[Pair]) -> Checked {
        let (mut keys, mut values): (Option<Type>, Option<Type>) = (None, None);
        let (mut first_key, mut first_value) = (None, None);
        let mut plans = Vec::with_capacity(pairs.len());
        for pair in pairs {
            let (found, key) = self.check(&pair.key);
            self.must_be_alike(pair.key.offset, &first_key, &found);
            first_key.get_or_insert_with(|| found.clone());
            keys = Some(self.join(keys, found));
            let (found, value) = self.check(&pair.value);
            let found = self.unwrapped(&pair.value, found, pair.is_optional);
            self.must_be_alike(pair.value.offset, &first_value, &found);
            first_value.get_or_insert_with(|| found.clone());
            values = Some(self.join(values, found));
            plans.push((key, value, pair.is_optional));
        }
        let key = keys.unwrap_or_else(|| self.mapping.fresh());
        let value = values.unwrap_or_else(|| self.mapping.fresh());
        (Type::map(key, value), Plan::Map(plans.into()))
    }

    pub(super) fn check_struct(&mut self, offset: u32, name: &str, fields: &[Field]) -> Checked {
        let is_patch = name == "JSONPatch";
        let is_object = name == "Object" || name.starts_with("Object.");
        if !self.environment.has_patch_types() || !is_patch && !is_object {
            let hint = if is_patch || is_object {
                "; it is for mutations only"
            } else {
                ""
            };
            return self.error(offset, format!("undeclared reference to '{name}'{hint}"));
        }
        let mut plans = Vec::with_capacity(fields.len());
        for field in fields {
            let (found, plan) = self.check(&field.value);
            let found = self.unwrapped(&field.value, found, field.is_optional);
            let expected = match field.name.as_str() {
                "op" | "path" | "from" if is_patch => Some(Type::String),
                "value" if is_patch => None,
                _ if is_object => None,
                other => {
                    let message = format!(
                        "undefined field '{other}'; a JSONPatch has op, path, from and value"
                    );
                    self.error(field.offset, message);
                    None
                }
            };
            if let Some(expected) = expected
                && !self.mapping.assign(&expected, &found)
            {
                let message = format!(
                    "expected type of field '{}' is '{}' but provided type is '{}'",
                    field.name,
                    expected.name(),
                    self.mapping.substitute(&found, true).name()
                );
                self.error(field.offset, message);
            }
            plans.push((field.name.as_str().into(), plan, field.is_optional));
        }
        let found = if is_patch {
            Type::Opaque(Opaque::JsonPatch)
        } else {
            Type::Mutation(name.into())
        };
        let plan = Plan::Struct {
            name: name.into(),
            fields: plans.into(),
        };
        (found, plan)
    }

    fn must_be_alike(&mut self, offset: u32, first: &Option<Type>, found: &Type) {
        if let Some(first) = first
            && self.format_depth == 0
        {
            self.alike.push((offset, first.clone(), found.clone()));
        }
    }

    /// Checks that the elements of each list and map are of one type, now that all are known.
    pub(super) fn check_alike(&mut self) {
        for (offset, first, found) in core::mem::take(&mut self.alike) {
            let first = self.mapping.substitute(&first, true).name();
            let found = self.mapping.substitute(&found, true).name();
            if first != found {
                self.error(
                    offset,
                    format!(
                        "expected type '{first}' but found '{found}'; wrap all in dyn() to mix"
                    ),
                );
            }
        }
    }

    /// Returns the type within an optional element.
    fn unwrapped(&mut self, expr: &Expr, found: Type, is_optional: bool) -> Type {
        if !is_optional {
            return found;
        }
        match found {
            Type::Optional(of) => *of,
            found if found.is_dyn_or_error() => found,
            found => {
                let name = found.name();
                let message = format!("expected type 'optional_type({name})' but found '{name}'");
                self.error(expr.offset, message).0
            }
        }
    }

    /// Joins the types of elements.
    fn join(&mut self, before: Option<Type>, found: Type) -> Type {
        match before {
            None => found,
            Some(before) if self.mapping.assign(&before, &found) => most_general(&before, &found),
            Some(_) => Type::Dyn,
        }
    }
}
