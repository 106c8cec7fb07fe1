//! A policy's backstop: its rules and defaults in CEL, for ValidatingAdmissionPolicies and
//! MutatingAdmissionPolicies that an API server evaluates without the host.
//!
//! The author writes them beside the policy, `policy!` embeds the file in the component as the
//! custom section `sallyport:backstop`, and the host reads it when it loads the policy. A file that
//! can't be used is a load error, which its author sees at the first `sallyport test`. The CEL
//! itself is not compiled here: the API server does that.

use super::LoadError;
use crate::decode::{self, DecodeError};
use crate::printable::sentence;
use crate::yaml;
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};

/// Variables that the host adds before those of the file.
pub const SETTINGS: &str = "settings";
/// Like [`SETTINGS`].
pub const MAY_KEEP: &str = "mayKeep";

/// The rules of one policy in CEL.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backstop {
    /// Expressions that others use as `variables.NAME`. One may use those before it.
    #[serde(default)]
    pub variables: Vec<Variable>,
    /// The rules.
    #[serde(default)]
    pub validations: Vec<Validation>,
    /// The values that a new Service gets.
    #[serde(default)]
    pub defaults: Vec<Default>,
    /// Denials and defaults of the policy that these expressions don't have.
    #[serde(default)]
    pub gaps: Vec<Gap>,
}

/// An expression with a name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// An identifier of CEL.
    pub name: String,
    /// CEL.
    pub expression: String,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Validation {
    /// The rule of the policy that this stands for, such as `S01`.
    pub rule: String,
    /// The settings with which it applies.
    #[serde(default)]
    pub when: When,
    /// CEL, true for what is allowed.
    pub expression: String,
    /// The message where `message_expression` has no result.
    pub message: String,
    /// CEL for a message that names what was found.
    pub message_expression: Option<String>,
}

/// A mutation of Services that are created.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Default {
    /// The rule of the policy that this stands for, such as `M4`.
    pub rule: String,
    /// The settings with which it applies.
    #[serde(default)]
    pub when: When,
    /// The settings with which it does not apply; none: it always does.
    #[serde(default)]
    pub unless: When,
    /// CEL, a list of `JSONPatch`; an empty one leaves the Service alone.
    pub expression: String,
}

impl Default {
    /// Returns true if the default applies with these settings.
    pub fn applies(&self, settings: &Value) -> bool {
        self.when.holds(settings) && (self.unless.0.is_empty() || !self.unless.holds(settings))
    }
}

/// A decision of the policy that no expression makes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gap {
    /// For people, without a full stop at the end.
    pub text: String,
    /// The settings with which the policy makes it.
    #[serde(default)]
    pub when: When,
}

/// Settings by name, each with the values that count. All must have one of theirs. A dot leads into
/// a record: `setOnCreate.internal`.
#[derive(Debug, Clone, std::default::Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct When(BTreeMap<String, Vec<Value>>);

impl When {
    /// Returns true if these settings have the listed values.
    pub fn holds(&self, settings: &Value) -> bool {
        self.0.iter().all(|(name, values)| {
            setting(settings, name).is_some_and(|found| values.contains(found))
        })
    }
}

fn setting<'a>(settings: &'a Value, name: &str) -> Option<&'a Value> {
    let mut names = name.split('.');
    names.try_fold(settings, |settings, name| settings.get(name))
}

impl Backstop {
    /// Reads the text of a component's section, for a policy with these settings.
    ///
    /// # Errors
    ///
    /// When it is no YAML, has other fields than these, or can be no ValidatingAdmissionPolicy.
    pub fn parse(text: &str, settings: &Value) -> Result<Self, LoadError> {
        let problem = |problem: String| {
            let what = "brings a backstop that can't be used";
            let fix = "use program and policies of one release; an author mends the file that \
                policy! names as its backstop";
            LoadError::component(sentence(what, &problem, fix))
        };
        let mut documents = yaml::documents(text).map_err(|error| problem(error.to_string()))?;
        let (Some(document), true) = (documents.pop(), documents.is_empty()) else {
            return Err(problem("expected one YAML document".to_owned()));
        };
        let backstop: Self =
            decode::from_value(&document).map_err(|error| problem(error.to_string()))?;
        backstop
            .check(settings)
            .map_err(|error| problem(error.to_string()))?;
        Ok(backstop)
    }

    fn check(&self, settings: &Value) -> Result<(), DecodeError> {
        let mut names = HashSet::from([SETTINGS, MAY_KEEP]);
        for (i, Variable { name, expression }) in self.variables.iter().enumerate() {
            let path = format!("variables[{i}]");
            if !is_identifier(name) {
                let problem = format!("{name:?} is no identifier; use letters, digits and '_'");
                return Err(DecodeError::new(format!("{path}.name"), problem));
            }
            if !names.insert(name) {
                let problem =
                    format!("{name:?} is taken; the host itself adds settings and mayKeep");
                return Err(DecodeError::new(format!("{path}.name"), problem));
            }
            not_blank(&format!("{path}.expression"), expression)?;
        }
        if self.validations.is_empty() && self.defaults.is_empty() {
            let problem = "must not be empty, unless there are defaults";
            return Err(DecodeError::new("validations", problem));
        }
        for (i, validation) in self.validations.iter().enumerate() {
            let path = format!("validations[{i}]");
            not_blank(&format!("{path}.expression"), &validation.expression)?;
            one_line(&format!("{path}.rule"), &validation.rule)?;
            one_line(&format!("{path}.message"), &validation.message)?;
            if let Some(expression) = &validation.message_expression {
                not_blank(&format!("{path}.messageExpression"), expression)?;
            }
            known(&format!("{path}.when"), &validation.when, settings)?;
        }
        for (i, default) in self.defaults.iter().enumerate() {
            let path = format!("defaults[{i}]");
            not_blank(&format!("{path}.expression"), &default.expression)?;
            one_line(&format!("{path}.rule"), &default.rule)?;
            known(&format!("{path}.when"), &default.when, settings)?;
            known(&format!("{path}.unless"), &default.unless, settings)?;
        }
        for (i, gap) in self.gaps.iter().enumerate() {
            one_line(&format!("gaps[{i}].text"), &gap.text)?;
            known(&format!("gaps[{i}].when"), &gap.when, settings)?;
        }
        Ok(())
    }
}

/// Words that CEL keeps for itself (the language definition, "Syntax").
const RESERVED: [&str; 22] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "namespace",
    "null",
    "package",
    "return",
    "true",
    "var",
    "void",
    "while",
    "_",
];

fn is_identifier(name: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(letter)
        && name.chars().all(|c| letter(c) || c.is_ascii_digit())
        && !RESERVED.contains(&name)
}

fn not_blank(path: &str, text: &str) -> Result<(), DecodeError> {
    if text.trim().is_empty() {
        return Err(DecodeError::new(path, "must not be empty"));
    }
    Ok(())
}

/// Checks texts that appear in a message or a comment.
fn one_line(path: &str, text: &str) -> Result<(), DecodeError> {
    not_blank(path, text)?;
    if text.chars().any(char::is_control) {
        return Err(DecodeError::new(path, "must be one line"));
    }
    Ok(())
}

/// Rejects a name that is no setting: it would silently switch a rule off.
fn known(path: &str, when: &When, settings: &Value) -> Result<(), DecodeError> {
    match when.0.keys().find(|name| setting(settings, name).is_none()) {
        Some(name) => Err(DecodeError::new(
            path,
            format!("{name:?} is none of the policy's settings"),
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(text: &str) -> Result<Backstop, String> {
        Backstop::parse(text, &json!({"mode": "strict"})).map_err(|error| error.to_string())
    }

    #[test]
    fn a_rule_applies_with_the_settings_that_it_names() {
        let text = "validations:\n- {rule: X, expression: 'true', message: m, when: {mode: [lax]}}";
        let when = &parse(text).expect("valid").validations[0].when;
        assert!(when.holds(&json!({"mode": "lax"})));
        assert!(!when.holds(&json!({"mode": "strict"})));
        assert!(When::default().holds(&Value::Null));
    }

    #[test]
    fn a_default_applies_with_settings_inside_a_record() {
        let text = "defaults:\n- {rule: M, expression: '[]', when: {set.on: [true]}, unless: \
            {set.ranges: [[]]}}";
        let settings = |on: bool, ranges: Value| json!({"set": {"on": on, "ranges": ranges}});
        let backstop = Backstop::parse(text, &settings(true, json!([]))).expect("valid");
        let applies = |on, ranges| backstop.defaults[0].applies(&settings(on, ranges));
        assert!(applies(true, json!(["10.0.0.0/8"])));
        assert!(!applies(true, json!([])));
        assert!(!applies(false, json!(["10.0.0.0/8"])));
    }

    #[test]
    fn a_file_that_cannot_be_used_says_where() {
        let rule = "validations: [{rule: X, expression: 'true', message: m}]";
        for (text, told) in [
            ("", "expected one YAML document"),
            ("validations: []", "validations: must not be empty"),
            (
                "defaults: [{rule: M, expression: a, unless: {set.on: [true]}}]",
                "defaults[0].unless: \"set.on\" is none of the policy's settings",
            ),
            ("a: b: c", "line 1"),
            ("validations: [{rule: X, message: m}]", "validations[0]"),
            (
                "validations: [{rule: X, expresion: a, message: m}]",
                "expresion",
            ),
            (
                "validations: [{rule: X, expression: ' ', message: m}]",
                "validations[0].expression",
            ),
            (
                r#"validations: [{rule: X, expression: a, message: "m\nn"}]"#,
                "must be one line",
            ),
            (
                "validations: [{rule: X, expression: a, message: m, when: {mod: [a]}}]",
                "validations[0].when: \"mod\" is none of the policy's settings",
            ),
            (
                &format!("{rule}\nvariables: [{{name: settings, expression: a}}]"),
                "variables[0].name: \"settings\" is taken",
            ),
            (
                &format!("{rule}\nvariables: [{{name: a-b, expression: a}}]"),
                "variables[0].name: \"a-b\" is no identifier",
            ),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(told), "{text}: {error}");
        }
        assert!(parse(rule).is_ok());
    }
}
