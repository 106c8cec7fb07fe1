use super::*;
use sallyport_policy::testing::*;

fn settings(validations: &[&str]) -> Settings {
    let validation = |expression: &&str| Validation {
        expression: (*expression).to_owned(),
        message: None,
        message_expression: None,
        reason: None,
        rule: None,
        field: None,
        key: None,
    };
    Settings {
        validations: validations.iter().map(validation).collect(),
        ..Expressions::defaults()
    }
}

fn policy(settings: Settings) -> Expressions {
    Expressions::configure(settings).unwrap_or_else(|errors| panic!("{errors:?}"))
}

fn review(object: &str) -> Review {
    let mut review = create(cluster_ip("web"));
    review.object = Some(object.to_owned());
    review
}

fn errors(settings: Settings) -> Vec<String> {
    let errors = Expressions::configure(settings).err().unwrap_or_default();
    let lines = errors.into_iter();
    lines
        .map(|error| format!("{}: {}", error.path, error.message))
        .collect()
}

#[test]
fn a_validation_that_is_false_denies_with_its_message() {
    let mut rules = settings(&["object.spec.type != 'NodePort'", "true"]);
    rules.validations[0].message_expression = Some("'no ' + object.spec.type".to_owned());
    let verdict = policy(rules).validate(&review(r#"{"spec":{"type":"NodePort"}}"#));
    assert_eq!(verdict.violations.len(), 1);
    assert_eq!(verdict.violations[0].rule, "C1");
    assert_eq!(verdict.violations[0].message, "no NodePort");
}

#[test]
fn an_error_denies_unless_failures_are_ignored() {
    let mut rules = settings(&["object.spec.externalName == 'x'"]);
    let object = review(r#"{"spec":{}}"#);
    let verdict = policy(rules.clone()).validate(&object);
    assert_eq!(
        verdict.violations[0].message,
        "expression 'object.spec.externalName == 'x'' resulted in error: no such key: externalName"
    );
    rules.failure_policy = "Ignore".to_owned();
    assert_eq!(policy(rules).validate(&object), Verdict::allow());
}

#[test]
fn errors_have_path_line_and_column() {
    let mut rules = settings(&["object.spec.typ ==\n 'x'", "object.spec.type", "foo("]);
    rules.failure_policy = "Maybe".to_owned();
    assert_eq!(
        errors(rules),
        [
            "failurePolicy: \"Maybe\" is neither Fail nor Ignore",
            "validations[0].expression: line 1, column 13: undefined field 'typ'; did you mean \
             'type'?",
            "validations[1].expression: line 1, column 13: must evaluate to bool but got dyn; \
             compare it, as with `== true`",
            "validations[2].expression: line 1, column 5: Syntax error: found the end of the \
             expression, expected an expression",
        ]
    );
}

#[test]
fn a_key_that_params_lack_is_a_load_error_unless_an_expression_tests_for_it() {
    let mut rules = settings(&["object.spec.ports.all(p, p.port <= params.too)"]);
    rules.params = r#"{"from":1,"to":9}"#.to_owned();
    assert_eq!(
        errors(rules.clone()),
        [
            "validations[0].expression: line 1, column 43: undefined field 'too': the setting \
             params does not give it; did you mean 'to'? Where it may be missing, write .?too or \
             test it with has()"
        ]
    );
    rules.match_conditions.push(MatchCondition {
        name: "has-too".to_owned(),
        expression: "has(params.too)".to_owned(),
    });
    assert_eq!(errors(rules.clone()), Vec::<String>::new());
    rules.match_conditions.clear();
    rules.params = "null".to_owned();
    assert_eq!(errors(rules), Vec::<String>::new());
}

#[test]
fn a_context_is_asked_for_only_if_it_is_read() {
    let context = |expression: &str| {
        let described = policy(settings(&[expression])).describe_configured();
        described.context.len()
    };
    assert_eq!(context("request.name != 'x'"), 0);
    assert_eq!(context("object.spec.type == 'x'"), 1);
    assert_eq!(context("namespaceObject.metadata.name == 'x'"), 0);
    assert_eq!(context("namespaceObject.metadata.labels == {'a': 'b'}"), 1);
    assert_eq!(context("has(namespaceObject.metadata.annotations)"), 1);
}

#[test]
fn expressions_that_never_end_use_up_their_budget() {
    let rules = settings(&["lists.range(1000).all(a, lists.range(1000).all(b, a + b >= 0))"]);
    let verdict = policy(rules).validate(&review("{}"));
    assert_eq!(verdict.violations.len(), 1);
    assert!(
        verdict.violations[0].message.contains("too many steps"),
        "{}",
        verdict.violations[0].message
    );
}

#[test]
fn mutations_see_what_the_ones_before_them_patched() {
    let mutation = |expression: &str| MutationSetting {
        patch_type: Some("JSONPatch".to_owned()),
        json_patch: JsonPatch {
            expression: expression.to_owned(),
        },
    };
    let mut rules = settings(&[]);
    rules.mutations = vec![
        mutation(
            "[JSONPatch{op: 'add', path: '/metadata/labels', \
             value: Object.metadata.labels{a: 'b'}}]",
        ),
        mutation(
            "has(object.metadata.labels) ? [JSONPatch{op: 'add', path: '/metadata/labels/' + \
             jsonpatch.escapeKey('x/y'), value: object.metadata.labels.a}] : []",
        ),
        mutation("[JSONPatch{op: 'test', path: '/metadata/name', value: 'other'}]"),
        mutation("[JSONPatch{op: 'remove', path: '/spec/none'}]"),
    ];
    let policy = policy(rules);
    let mut asked = mutating(review(r#"{"metadata":{"name":"web"},"spec":{}}"#));
    let patched = policy.mutate(&asked);
    assert_eq!(patched.patch.len(), 2, "{:?}", patched);
    assert_eq!(
        patched.warnings,
        ["not patched: JSON Patch: remove of /spec/none: no such path"]
    );
    asked.object =
        Some(r#"{"metadata":{"name":"web","labels":{"a":"b","x/y":"b"}},"spec":{}}"#.to_owned());
    assert!(policy.mutate(&asked).patch.is_empty());
}

#[test]
fn deletions_have_an_old_object_and_no_object() {
    let mut rules = settings(&["object == null && oldObject.spec.type == 'NodePort'"]);
    rules.match_constraints.resource_rules[0].operations = vec!["DELETE".to_owned()];
    let policy = policy(rules);
    let mut asked = review(r#"{"spec":{"type":"NodePort"}}"#);
    assert_eq!(policy.describe_configured().operations, [Operation::Delete]);
    asked.operation = Operation::Delete;
    assert_eq!(policy.validate(&asked), Verdict::allow());
}
