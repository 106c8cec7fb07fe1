//! Macros that walk a list or a map, and those of optional values.

use super::{BROKEN, Checked, Checker, strict};
use crate::ast::{Loop, LoopKind};
use crate::program::{LoopPlan, Plan};
use crate::schema::Schema;
use crate::signatures;
use crate::types::Type;
use alloc::boxed::Box;
use alloc::format;

impl Checker<'_> {
    pub(super) fn check_loop(&mut self, offset: u32, found: &Loop) -> Checked {
        let (range, range_plan) = self.check(&found.range);
        let range = self.mapping.substitute(&range, false);
        if matches!(found.kind, LoopKind::OptMap | LoopKind::OptFlatMap) {
            return self.check_optional_map(found, &range, range_plan);
        }
        let (first, second) = self.elements(found.range.offset, &range, found.second.is_some());
        let depth = self.locals.len();
        self.locals.push((found.variable.clone(), first.clone()));
        if let (Some(name), Some(second)) = (&found.second, &second) {
            self.locals.push((name.clone(), second.clone()));
        }
        let condition = found.condition.as_ref().map(|condition| {
            let (found, plan) = self.check(condition);
            self.expect(condition.offset, &found, &Type::Bool);
            plan
        });
        let body = found.body.as_ref().map(|body| self.check(body));
        self.locals.truncate(depth);
        let (body_type, body) = match body {
            Some((found, plan)) => (found, Some(plan)),
            None => (Type::Dyn, None),
        };
        let result = match found.kind {
            LoopKind::All | LoopKind::Exists | LoopKind::ExistsOne => Type::Bool,
            LoopKind::Filter => Type::list(first),
            LoopKind::Map => Type::list(body_type),
            LoopKind::TransformMap => Type::map(first, body_type),
            LoopKind::TransformMapEntry => {
                let expected = Type::map(self.mapping.fresh(), self.mapping.fresh());
                self.expect(offset, &body_type, &expected);
                expected
            }
            LoopKind::SortBy => self.sort_by(offset, &range, body_type),
            LoopKind::OptMap | LoopKind::OptFlatMap => Type::Error,
        };
        let plan = Plan::Loop(Box::new(LoopPlan {
            kind: found.kind,
            range: range_plan,
            has_two: found.second.is_some(),
            condition,
            body,
        }));
        (self.mapping.substitute(&result, false), plan)
    }

    fn sort_by(&mut self, offset: u32, range: &Type, key: Type) -> Type {
        let types = [range.clone(), Type::list(key)];
        match signatures::find("@sortByAssociatedKeys") {
            Some(declaration) => self.resolve(offset, declaration, true, &types),
            None => Type::Error,
        }
    }

    /// Returns the types of a loop's variables.
    fn elements(&mut self, offset: u32, range: &Type, has_two: bool) -> (Type, Option<Type>) {
        match range {
            Type::List(element) if has_two => (Type::Int, Some((**element).clone())),
            Type::List(element) => ((**element).clone(), None),
            Type::Map(entry) => (entry.0.clone(), has_two.then(|| entry.1.clone())),
            Type::Hint(Schema::List(element)) if has_two => (Type::Dyn, Some(Type::Hint(element))),
            Type::Hint(Schema::List(element)) => (Type::Hint(element), None),
            Type::Hint(Schema::Map(value)) => (
                Type::Hint(&Schema::String),
                has_two.then_some(Type::Hint(value)),
            ),
            Type::Hint(Schema::String | Schema::Int | Schema::Bool) => {
                let name = strict(range).name();
                self.not_a_range(offset, &name);
                (Type::Error, has_two.then_some(Type::Error))
            }
            Type::Dyn | Type::Hint(_) | Type::Error | Type::Var(_) => {
                self.mapping.assign(&Type::Dyn, range);
                (Type::Dyn, has_two.then_some(Type::Dyn))
            }
            other => {
                self.not_a_range(offset, &other.name());
                (Type::Error, has_two.then_some(Type::Error))
            }
        }
    }

    fn not_a_range(&mut self, offset: u32, name: &str) {
        let message = format!(
            "expression of type '{name}' cannot be range of a comprehension (must be list, map, or \
             dynamic)"
        );
        self.error(offset, message);
    }

    /// `optMap` and `optFlatMap`: one evaluation, if there is a value.
    fn check_optional_map(&mut self, found: &Loop, range: &Type, range_plan: Plan) -> Checked {
        let of = self.mapping.fresh();
        self.expect(found.range.offset, range, &Type::optional(of.clone()));
        let depth = self.locals.len();
        let of = self.mapping.substitute(&of, false);
        self.locals.push((found.variable.clone(), of));
        let body = found
            .body
            .as_ref()
            .map(|body| (body.offset, self.check(body)));
        self.locals.truncate(depth);
        let Some((offset, (body_type, body))) = body else {
            return (Type::Error, BROKEN);
        };
        let result = if found.kind == LoopKind::OptMap {
            Type::optional(body_type)
        } else {
            let expected = Type::optional(self.mapping.fresh());
            self.expect(offset, &body_type, &expected);
            self.mapping.substitute(&expected, false)
        };
        let plan = Plan::Loop(Box::new(LoopPlan {
            kind: found.kind,
            range: range_plan,
            has_two: false,
            condition: None,
            body: Some(body),
        }));
        (result, plan)
    }
}
