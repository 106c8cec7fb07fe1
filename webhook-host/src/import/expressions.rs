//! The expressions of a policy, checked as the component checks them when it is configured.

use super::source::{PatchType, PolicySpec};
use sallyport_cel::{CompileError, Environment, Opaque, Program, Type, kubernetes};

/// A path and a problem there.
pub(super) type Problem = (String, String);

/// Checks all expressions of a policy. Returns what is wrong, with line and column.
pub(super) fn problems(spec: &PolicySpec) -> Vec<Problem> {
    let mut checker = Checker {
        environment: kubernetes::environment(),
        problems: vec![],
    };
    checker.check(spec);
    checker.problems
}

struct Checker {
    environment: Environment,
    problems: Vec<Problem>,
}

impl Checker {
    fn check(&mut self, spec: &PolicySpec) {
        let bool = [Type::Bool];
        for (i, condition) in spec.match_conditions.iter().enumerate() {
            let path = format!("spec.matchConditions[{i}].expression");
            self.expression(path, &condition.expression, &bool);
        }
        if !spec.mutations.is_empty() {
            self.environment = std::mem::take(&mut self.environment).with_patch_types();
        }
        for (i, variable) in spec.variables.iter().enumerate() {
            let path = format!("spec.variables[{i}].expression");
            let program = self.expression(path, &variable.expression, &[]);
            let output = program.as_ref().map_or(&Type::Dyn, Program::output);
            self.environment.compose(&variable.name, output);
        }
        for (i, validation) in spec.validations.iter().enumerate() {
            let path = format!("spec.validations[{i}]");
            self.expression(format!("{path}.expression"), &validation.expression, &bool);
            if let Some(message) = validation.message_expression() {
                let path = format!("{path}.messageExpression");
                self.expression(path, message, &[Type::String]);
            }
        }
        for (i, annotation) in spec.audit_annotations.iter().enumerate() {
            let path = format!("spec.auditAnnotations[{i}].valueExpression");
            let results = [Type::String, Type::Null];
            self.expression(path, &annotation.value_expression, &results);
        }
        for (i, mutation) in spec.mutations.iter().enumerate() {
            let path = format!("spec.mutations[{i}]");
            match (mutation.patch_type, &mutation.json_patch) {
                (PatchType::JSONPatch, Some(patch)) => {
                    let results = [Type::list(Type::Opaque(Opaque::JsonPatch))];
                    let path = format!("{path}.jsonPatch.expression");
                    self.expression(path, &patch.expression, &results);
                }
                (PatchType::JSONPatch, None) => {
                    self.problem(format!("{path}.jsonPatch"), "missing field");
                }
                (PatchType::ApplyConfiguration, _) => self.problem(
                    format!("{path}.patchType"),
                    "ApplyConfiguration has no counterpart; write the change as a JSONPatch",
                ),
            }
        }
    }

    fn problem(&mut self, path: String, problem: &str) {
        self.problems.push((path, problem.to_owned()));
    }

    fn expression(&mut self, path: String, source: &str, results: &[Type]) -> Option<Program> {
        match self.environment.compile(source, results) {
            Ok(program) => Some(program),
            Err(errors) => {
                let problem = |error: CompileError| (path.clone(), error.to_string());
                self.problems.extend(errors.into_iter().map(problem));
                None
            }
        }
    }
}
