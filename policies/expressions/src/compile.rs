//! The rules, compiled from the settings. Every error has the path of its setting, and an error of
//! an expression has line and column.

use crate::{
    AuditAnnotation, MatchCondition, MutationSetting, ResourceRule, Settings, Validation, Variable,
};
use sallyport_cel::json::Document;
use sallyport_cel::kubernetes::{self, NAMESPACE_METADATA, NAMESPACE_OBJECT, OBJECT, OLD_OBJECT};
use sallyport_cel::{Environment, KnownVariable, Opaque, Program, Type};
use sallyport_policy::Description;
use sallyport_policy::prelude::*;
use sallyport_policy::review::Resource;

/// The entries that each list of the settings may have.
const MAX_ENTRIES: usize = 256;

/// Reasons that a denial may have, as in Kubernetes.
const REASONS: [&str; 3] = ["Forbidden", "Invalid", "RequestEntityTooLarge"];

/// Checked rules.
pub(crate) struct Rules {
    pub(crate) requests: Vec<Requests>,
    /// Expressions without a value don't count.
    pub(crate) ignores_failures: bool,
    pub(crate) params: Document<'static>,
    pub(crate) conditions: Conditions,
    pub(crate) variables: Vec<Named>,
    pub(crate) validations: Vec<Rule>,
    pub(crate) annotations: Vec<Named>,
    pub(crate) mutations: Vec<Expression>,
    pub(crate) reads: Reads,
}

/// What the expressions read of the namespace.
#[derive(Clone, Copy, Default)]
pub(crate) struct Reads {
    pub(crate) labels: bool,
    pub(crate) annotations: bool,
}

/// The match conditions.
pub(crate) type Conditions = Vec<Expression>;

/// An expression and its text.
pub(crate) struct Expression {
    pub(crate) source: String,
    pub(crate) program: Program,
}

/// An expression with a name.
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) expression: Expression,
}

/// A validation.
pub(crate) struct Rule {
    pub(crate) id: String,
    pub(crate) field: String,
    pub(crate) expression: Expression,
    pub(crate) message: Option<String>,
    pub(crate) message_expression: Option<Expression>,
    pub(crate) key: Option<Expression>,
}

/// Requests that the rules are about.
pub(crate) struct Requests {
    operations: Vec<Operation>,
    resources: Vec<Resource>,
}

impl Requests {
    pub(crate) fn has(&self, review: &Review) -> bool {
        self.operations.contains(&review.operation) && self.resources.contains(&review.resource)
    }
}

impl Rules {
    /// Checks settings.
    pub(crate) fn compile(settings: Settings) -> Result<Self, Vec<SettingsError>> {
        let mut compiler = Compiler {
            environment: kubernetes::environment(),
            sources: vec![],
            errors: vec![],
        };
        compiler.check_lengths(&settings);
        match compiler.rules(settings) {
            Some(mut rules) if compiler.errors.is_empty() => {
                rules.reads = Reads {
                    labels: rules.reads_namespace("labels"),
                    annotations: rules.reads_namespace("annotations"),
                };
                Ok(rules)
            }
            _ => Err(compiler.errors),
        }
    }

    fn expressions(&self) -> impl Iterator<Item = &Program> {
        let named = self.variables.iter().chain(&self.annotations);
        let rules = self.validations.iter().flat_map(|rule| {
            let more = rule.message_expression.iter().chain(&rule.key);
            std::iter::once(&rule.expression).chain(more)
        });
        let expressions = named.map(|named| &named.expression).chain(rules);
        let expressions = expressions.chain(&self.conditions).chain(&self.mutations);
        expressions.map(|expression| &expression.program)
    }

    fn reads_variable(&self, index: usize) -> bool {
        self.expressions()
            .any(|program| program.uses().variables.contains(&index))
    }

    fn reads_namespace(&self, field: &str) -> bool {
        self.reads_variable(NAMESPACE_OBJECT)
            && self
                .expressions()
                .any(|program| program.uses().reads(NAMESPACE_METADATA, field))
    }

    /// Describes the requests and the context that the rules need.
    pub(crate) fn describe(&self) -> Description {
        let mut description = <crate::Expressions as Policy>::describe();
        let all = |wanted: &Operation| self.requests.iter().any(|r| r.operations.contains(wanted));
        description.operations.retain(all);
        let all = |wanted: &Resource| self.requests.iter().any(|r| r.resources.contains(wanted));
        description.resources.retain(all);
        if self.mutations.is_empty() {
            description = description.not_mutating();
        }
        let reads_objects = self.reads_variable(OBJECT)
            || self.reads_variable(OLD_OBJECT)
            || !self.mutations.is_empty();
        description.context.clear();
        if reads_objects {
            description = description.with_raw_objects();
        }
        if self.reads.labels {
            description = description.with_namespace();
        }
        if self.reads.annotations {
            description = description.with_namespace_annotations();
        }
        if self.validations.is_empty() && self.mutations.is_empty() && self.annotations.is_empty() {
            // Nothing to evaluate: the policy is about no Service at all.
            description.compares.clear();
            description = description.about(About::COMPARED_ANNOTATIONS);
        }
        description
    }
}

struct Compiler {
    environment: Environment,
    /// Path and text of each valid expression.
    sources: Vec<(String, String)>,
    errors: Vec<SettingsError>,
}

impl Compiler {
    #[cold]
    fn error(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.errors.push(SettingsError::new(path, message));
    }

    fn check_lengths(&mut self, settings: &Settings) {
        for (path, length) in [
            ("matchConditions", settings.match_conditions.len()),
            ("variables", settings.variables.len()),
            ("validations", settings.validations.len()),
            ("auditAnnotations", settings.audit_annotations.len()),
            ("mutations", settings.mutations.len()),
        ] {
            if length > MAX_ENTRIES {
                self.error(
                    path,
                    format!("{length} entries; at most {MAX_ENTRIES} are allowed"),
                );
            }
        }
    }

    fn rules(&mut self, settings: Settings) -> Option<Rules> {
        if !self.errors.is_empty() {
            return None;
        }
        let requests = self.requests(&settings.match_constraints.resource_rules);
        let ignores_failures = match settings.failure_policy.as_str() {
            "Fail" => false,
            "Ignore" => true,
            other => {
                let message = format!("{} is neither Fail nor Ignore", quote(other));
                self.error("failurePolicy", message);
                false
            }
        };
        let params = self.params(settings.params);
        // As in Kubernetes, match conditions come before the variables.
        let conditions = self.conditions(settings.match_conditions);
        if !settings.mutations.is_empty() {
            self.environment = std::mem::take(&mut self.environment).with_patch_types();
        }
        let variables = self.variables(settings.variables);
        let validations = self.validations(settings.validations);
        let annotations = self.annotations(settings.audit_annotations);
        let mutations = self.mutations(settings.mutations);
        let params = params?;
        self.check_keys(&params);
        Some(Rules {
            requests,
            ignores_failures,
            params,
            conditions,
            variables,
            validations,
            annotations,
            mutations,
            reads: Reads::default(),
        })
    }

    fn expression(
        &mut self,
        path: impl Into<String>,
        source: String,
        results: &[Type],
    ) -> Option<Expression> {
        let path = path.into();
        if source.trim().is_empty() {
            self.error(path, "an expression is missing");
            return None;
        }
        match self.environment.compile(&source, results) {
            Ok(program) => {
                self.sources.push((path, source.clone()));
                Some(Expression { source, program })
            }
            Err(errors) => {
                for error in errors {
                    self.error(path.clone(), error.to_string());
                }
                None
            }
        }
    }

    fn params(&mut self, text: String) -> Option<Document<'static>> {
        // It lives as long as the policy, which is as long as the instance.
        match Document::parse(text.leak()) {
            Ok(document) => Some(document),
            Err(error) => {
                self.error("params", format!("no JSON: {error}"));
                None
            }
        }
    }

    /// Finds keys that expressions read of `params` and that the settings don't give.
    fn check_keys(&mut self, params: &Document<'_>) {
        let mut known = KnownVariable::new("params", params.root());
        for (_, source) in &self.sources {
            known.note_tests(source);
        }
        for (path, source) in std::mem::take(&mut self.sources) {
            for error in known.missing_keys(&source) {
                self.error(path.clone(), error.to_string());
            }
        }
    }

    fn requests(&mut self, rules: &[ResourceRule]) -> Vec<Requests> {
        const PATH: &str = "matchConstraints.resourceRules";
        if rules.is_empty() {
            self.error(
                PATH,
                "an empty list matches no request; name operations and resources",
            );
        }
        let rules = rules.iter().enumerate();
        rules
            .map(|(i, rule)| self.request(&format!("{PATH}[{i}]"), rule))
            .collect()
    }

    fn request(&mut self, path: &str, rule: &ResourceRule) -> Requests {
        for (name, values, known) in [
            ("apiGroups", &rule.api_groups, ""),
            ("apiVersions", &rule.api_versions, "v1"),
        ] {
            let misses = values
                .as_ref()
                .is_some_and(|values| !values.iter().any(|v| v == known || v == "*"));
            if misses {
                self.error(
                    format!("{path}.{name}"),
                    format!(
                        "Services are of group \"\" and version \"v1\"; add {known:?} or leave \
                         it out"
                    ),
                );
            }
        }
        let mut operations = vec![];
        for (i, name) in rule.operations.iter().enumerate() {
            use Operation::{Create, Delete, Update};
            match name.as_str() {
                "CREATE" => operations.push(Create),
                "UPDATE" => operations.push(Update),
                "DELETE" => operations.push(Delete),
                "*" => operations.extend([Create, Update, Delete]),
                other => self.error(
                    format!("{path}.operations[{i}]"),
                    format!("{} is none of CREATE, UPDATE, DELETE and *", quote(other)),
                ),
            }
        }
        let mut resources = vec![];
        for (i, name) in rule.resources.iter().enumerate() {
            match name.as_str() {
                "services" | "*" => resources.push(Resource::Services),
                "services/status" | "*/status" => resources.push(Resource::ServicesStatus),
                "services/*" | "*/*" => {
                    resources.extend([Resource::Services, Resource::ServicesStatus]);
                }
                other => self.error(
                    format!("{path}.resources[{i}]"),
                    format!(
                        "{} is none of services, services/status, services/*, * and */*; Sallyport \
                         judges Services alone",
                        quote(other)
                    ),
                ),
            }
        }
        for (name, is_empty) in [
            ("operations", rule.operations.is_empty()),
            ("resources", rule.resources.is_empty()),
        ] {
            if is_empty {
                self.error(format!("{path}.{name}"), "an empty list matches no request");
            }
        }
        Requests {
            operations,
            resources,
        }
    }

    fn conditions(&mut self, conditions: Vec<MatchCondition>) -> Conditions {
        let mut names: Vec<String> = vec![];
        let mut compiled = vec![];
        for (i, condition) in conditions.into_iter().enumerate() {
            let path = format!("matchConditions[{i}]");
            if names.contains(&condition.name) {
                let message = format!("{} is there twice", quote(&condition.name));
                self.error(format!("{path}.name"), message);
            }
            names.push(condition.name);
            let path = format!("{path}.expression");
            compiled.extend(self.expression(path, condition.expression, &[Type::Bool]));
        }
        compiled
    }

    fn variables(&mut self, variables: Vec<Variable>) -> Vec<Named> {
        let mut compiled: Vec<Named> = vec![];
        for (i, variable) in variables.into_iter().enumerate() {
            let path = format!("variables[{i}]");
            let Variable { name, expression } = variable;
            if !is_identifier(&name) {
                let message = format!(
                    "{} is no name of CEL: letters, digits and _, and no digit first",
                    quote(&name)
                );
                self.error(format!("{path}.name"), message);
            }
            if compiled.iter().any(|known| known.name == name) {
                self.error(
                    format!("{path}.name"),
                    format!("{} is there twice", quote(&name)),
                );
            }
            // A broken variable is declared, too: what uses it is not wrong for that.
            let expression = self.expression(format!("{path}.expression"), expression, &[]);
            let output = expression.as_ref().map(|e| e.program.output());
            self.environment
                .compose(&name, output.unwrap_or(&Type::Dyn));
            compiled.extend(expression.map(|expression| Named { name, expression }));
        }
        compiled
    }

    fn validations(&mut self, validations: Vec<Validation>) -> Vec<Rule> {
        let mut reason: Option<String> = None;
        let mut compiled = vec![];
        for (i, validation) in validations.into_iter().enumerate() {
            let path = format!("validations[{i}]");
            if let Some(given) = &validation.reason {
                self.reason(&path, given, reason.as_deref());
                reason.get_or_insert_with(|| given.clone());
            }
            compiled.extend(self.validation(i, &path, validation));
        }
        compiled
    }

    fn reason(&mut self, path: &str, given: &str, before: Option<&str>) {
        let path = format!("{path}.reason");
        if !REASONS.contains(&given) {
            let message = format!("{} is none of {}", quote(given), REASONS.join(", "));
            self.error(path, message);
        } else if before.is_some_and(|before| before != given) {
            let before = before.unwrap_or_default();
            self.error(
                path,
                format!(
                    "{given} beside {before}: all denials of one policy have the reason of its \
                     manifest (`spec.reason`); put these validations into a policy of their own"
                ),
            );
        }
    }

    fn validation(&mut self, index: usize, path: &str, validation: Validation) -> Option<Rule> {
        let text = [Type::String];
        let expression = self.expression(
            format!("{path}.expression"),
            validation.expression,
            &[Type::Bool],
        );
        let message_expression = validation
            .message_expression
            .map(|source| self.expression(format!("{path}.messageExpression"), source, &text));
        let key = validation
            .key
            .map(|source| self.expression(format!("{path}.key"), source, &text));
        if let Some(message) = &validation.message
            && (message.trim().is_empty() || message.contains('\n'))
        {
            self.error(
                format!("{path}.message"),
                "a message is one line that is not empty",
            );
        }
        let id = validation.rule.unwrap_or_else(|| format!("C{}", index + 1));
        if !is_rule(&id) {
            let message = format!(
                "{} is no id of a rule: at most 63 letters, digits, -, _ and .",
                quote(&id)
            );
            self.error(format!("{path}.rule"), message);
        }
        Some(Rule {
            id,
            field: validation.field.unwrap_or_default(),
            expression: expression?,
            message: validation.message.map(|message| message.trim().to_owned()),
            message_expression: message_expression.flatten(),
            key: key.flatten(),
        })
    }

    fn annotations(&mut self, annotations: Vec<AuditAnnotation>) -> Vec<Named> {
        let mut compiled: Vec<Named> = vec![];
        for (i, annotation) in annotations.into_iter().enumerate() {
            let path = format!("auditAnnotations[{i}]");
            let name = annotation.key;
            if !is_rule(&name) {
                let message = format!(
                    "{} is no key: at most 63 letters, digits, -, _ and .",
                    quote(&name)
                );
                self.error(format!("{path}.key"), message);
            }
            if compiled.iter().any(|known| known.name == name) {
                self.error(
                    format!("{path}.key"),
                    format!("{} is there twice", quote(&name)),
                );
            }
            let expression = self.expression(
                format!("{path}.valueExpression"),
                annotation.value_expression,
                &[Type::String, Type::Null],
            );
            compiled.extend(expression.map(|expression| Named { name, expression }));
        }
        compiled
    }

    fn mutations(&mut self, mutations: Vec<MutationSetting>) -> Vec<Expression> {
        let patch = [Type::list(Type::Opaque(Opaque::JsonPatch))];
        let mut compiled = vec![];
        for (i, mutation) in mutations.into_iter().enumerate() {
            let path = format!("mutations[{i}]");
            if let Some(kind) = mutation.patch_type.filter(|kind| kind != "JSONPatch") {
                let message = format!(
                    "{} is not supported; write the change as a JSONPatch",
                    quote(&kind)
                );
                self.error(format!("{path}.patchType"), message);
            }
            compiled.extend(self.expression(
                format!("{path}.jsonPatch.expression"),
                mutation.json_patch.expression,
                &patch,
            ));
        }
        compiled
    }
}

fn is_identifier(name: &str) -> bool {
    let mut chars = name.chars();
    chars
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn is_rule(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}
