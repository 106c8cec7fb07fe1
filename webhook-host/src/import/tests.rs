use super::*;
use sallyport_core::yaml;
use serde_json::json;

fn imported(text: &str) -> Import {
    let objects = yaml::documents(text).expect("YAML");
    import(&objects).unwrap_or_else(|error| panic!("{error}"))
}

fn manifests(import: &Import) -> Vec<Value> {
    let json = |policy: &Imported| serde_json::to_value(&policy.manifest).expect("JSON");
    import.policies.iter().map(json).collect()
}

/// Returns the policies and findings as lines.
fn findings(import: &Import) -> Vec<String> {
    let line = |finding: &Finding| format!("{}: {}", finding.path, finding.text);
    let made = import.policies.iter().flat_map(|policy| &policy.findings);
    let refused = import.refused.iter().flat_map(|refused| &refused.findings);
    made.chain(refused).map(line).collect()
}

fn policy(spec: &str) -> String {
    format!(
        "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicy\nmetadata: \
         {{ name: p }}\nspec: {spec}\n---\n"
    )
}

fn binding(spec: &str) -> String {
    format!(
        "apiVersion: admissionregistration.k8s.io/v1\nkind: \
         ValidatingAdmissionPolicyBinding\nmetadata: {{ name: b }}\nspec: {spec}\n---\n"
    )
}

const SERVICES: &str = "matchConstraints: { resourceRules: [{ apiGroups: [''], apiVersions: [v1], \
    operations: [CREATE, UPDATE], resources: [services] }] }";

const BOUND: &str = "{ policyName: p, validationActions: [Deny] }";

fn validated(expression: &str) -> String {
    policy(&format!(
        "{{ {SERVICES}, validations: [{{ expression: {expression:?} }}] }}"
    ))
}

/// Returns a policy with parameters and its binding, which refers to them.
fn with_params(reference: &str) -> String {
    let kind = "spec: { paramKind: { apiVersion: v1, kind: ConfigMap },";
    validated("true").replace("spec: {", kind)
        + &binding(&format!(
            "{{ policyName: p, validationActions: [Deny], {reference} }}"
        ))
}

#[test]
fn a_policy_with_its_binding_becomes_a_manifest() {
    let text = policy(&format!(
        "{{ failurePolicy: Ignore, {SERVICES},
        matchConditions: [{{ name: c, expression: 'true' }}],
        variables: [{{ name: v, expression: 'object.spec.type' }}],
        validations: [{{ expression: \"variables.v == 'ClusterIP'\", message: m,
            reason: Forbidden, messageExpression: \"'x'\" }}],
        auditAnnotations: [{{ key: k, valueExpression: 'string(variables.v)' }}] }}"
    )) + &binding(BOUND);
    let import = imported(&text);
    assert_eq!(findings(&import), Vec::<String>::new());
    assert!(!import.is_incomplete());
    assert_eq!(
        manifests(&import),
        [json!({
            "apiVersion": "sallyport.dev/v1alpha1",
            "kind": "ServicePolicy",
            "metadata": {"name": "p"},
            "spec": {
                "module": {"file": "expressions.wasm"},
                "mode": "Enforce",
                "failurePolicy": "Ignore",
                "reason": "Forbidden",
                "updates": "Always",
                "settings": {
                    "matchConstraints": {"resourceRules": [
                        {"operations": ["CREATE", "UPDATE"], "resources": ["services"]},
                    ]},
                    "failurePolicy": "Ignore",
                    "matchConditions": [{"name": "c", "expression": "true"}],
                    "variables": [{"name": "v", "expression": "object.spec.type"}],
                    "validations": [{
                        "expression": "variables.v == 'ClusterIP'",
                        "message": "m",
                        "messageExpression": "'x'",
                    }],
                    "auditAnnotations": [{"key": "k", "valueExpression": "string(variables.v)"}],
                },
            },
        })]
    );
}

#[test]
fn messages_are_taken_over_as_the_api_server_shows_them() {
    let text = policy(&format!(
        "{{ {SERVICES}, validations: [{{ expression: 'true', message: \"no node ports\\n\" }},
            {{ expression: 'true', message: '', messageExpression: '' }}] }}"
    )) + &binding(BOUND);
    let import = imported(&text);
    assert_eq!(findings(&import), Vec::<String>::new());
    assert_eq!(
        manifests(&import)[0]["spec"]["settings"]["validations"],
        json!([{"expression": "true", "message": "no node ports"}, {"expression": "true"}])
    );
}

#[test]
fn several_bindings_actions_and_reasons_become_several_manifests() {
    let text = policy(&format!(
        "{{ {SERVICES}, validations: [{{ expression: 'true' }}, {{ expression: 'true', reason: \
         Forbidden }}], auditAnnotations: [{{ key: k, valueExpression: \"'v'\" }}] }}"
    )) + &binding("{ policyName: p, validationActions: [Audit, Deny] }")
        + &binding("{ policyName: p, validationActions: [Warn] }").replace("name: b", "name: c.d");
    let import = imported(&text);
    let shown: Vec<Value> = manifests(&import)
        .into_iter()
        .map(|manifest| {
            let settings = &manifest["spec"]["settings"];
            let rules = settings["validations"].as_array().expect("a list");
            let rules: Vec<&Value> = rules.iter().map(|rule| &rule["rule"]).collect();
            json!([
                manifest["metadata"]["name"],
                manifest["spec"]["mode"],
                manifest["spec"]["reason"],
                rules,
                settings["auditAnnotations"].is_array(),
            ])
        })
        .collect();
    assert_eq!(
        shown,
        [
            json!(["p-b-deny-forbidden", "Enforce", "Forbidden", ["C2"], true]),
            json!(["p-b-deny-invalid", "Enforce", "Invalid", ["C1"], false]),
            json!(["p-b-audit", "Audit", null, [null, null], false]),
            json!(["p-c-d", "Warn", null, [null, null], true]),
        ]
    );
}

#[test]
fn a_policy_without_a_binding_only_audits() {
    let import = imported(&validated("true"));
    assert_eq!(manifests(&import)[0]["spec"]["mode"], "Audit");
    assert!(import.is_incomplete());
    assert!(findings(&import)[0].contains("the input has no binding"));
}

#[test]
fn what_has_no_counterpart_is_named() {
    for (text, finding) in [
        (
            validated("authorizer.group('').resource('services').check('create').allowed()")
                + &binding(BOUND),
            "spec.validations[0].expression: line 1, column 1: ",
        ),
        (
            validated("object.spec.typ == ''") + &binding(BOUND),
            "spec.validations[0].expression: line 1, column 13: ",
        ),
        (
            with_params("paramRef: { selector: {}, parameterNotFoundAction: Deny }"),
            "spec.paramRef: a selector has no counterpart",
        ),
        (
            with_params("paramRef: { name: x, namespace: ns, parameterNotFoundAction: Deny }"),
            "spec.paramRef: the input has no ConfigMap ns/x; add the object",
        ),
        (
            with_params("paramRef: { name: x, parameterNotFoundAction: Deny }"),
            "parameters in the namespace of the Service have no counterpart",
        ),
        (
            validated("true").replace("resources: [services]", "resources: [services, pods]")
                + &binding(BOUND),
            "spec.matchConstraints.resourceRules: Sallyport judges Services alone; left out: pods",
        ),
        (
            binding(BOUND),
            "spec.policyName: the input has no ValidatingAdmissionPolicy p; add it",
        ),
        (
            policy(&format!(
                "{{ {SERVICES}, mutations: [{{ patchType: ApplyConfiguration,
                applyConfiguration: {{ expression: 'Object{{}}' }} }}],
                reinvocationPolicy: Never }}"
            ))
            .replace("Validating", "Mutating"),
            "spec.mutations[0].patchType: ApplyConfiguration has no counterpart",
        ),
        (
            validated("true").replace(
                "resourceRules: [",
                "namespaceSelector: { matchExpressions: [{ key: a, operator: In, values: [] }] },
                resourceRules: [",
            ) + &binding(BOUND),
            "the ServicePolicy would be refused: ",
        ),
    ] {
        let import = imported(&text);
        assert!(import.is_incomplete(), "{text}");
        let found = findings(&import);
        assert!(
            found.iter().any(|line| line.contains(finding)),
            "{text}\n{found:#?}"
        );
    }
}

#[test]
fn policies_about_other_objects_are_passed_over() {
    for rule in [
        "apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [pods]",
        "apiGroups: [apps], apiVersions: [v1], operations: [CREATE], resources: ['*']",
        "apiGroups: [''], apiVersions: [v1], operations: [CONNECT], resources: ['*/*']",
        "apiGroups: [''], apiVersions: [v1], operations: ['*'], resources: [services/proxy]",
        "apiGroups: ['*'], apiVersions: ['*'], operations: ['*'], resources: ['*'], scope: Cluster",
    ] {
        let import = imported(
            &(policy(&format!(
                "{{ matchConstraints: {{ resourceRules: [{{ {rule} }}] }}, validations: [{{ \
                 expression: 'object.nope' }}] }}"
            )) + &binding(BOUND)),
        );
        assert_eq!(import.unrelated, ["ValidatingAdmissionPolicy p"], "{rule}");
        assert!(
            !import.is_incomplete() && import.policies.is_empty(),
            "{rule}"
        );
    }
}

#[test]
fn malformed_policies_have_a_path() {
    for (text, problem) in [
        (policy("{ validations: [] }"), "matchConstraints"),
        (
            validated("true").replace("expression:", "expresion:"),
            "spec.validations[0]",
        ),
        (
            binding("{ policyName: p, validationActions: [Block] }"),
            "spec.validationActions[0]",
        ),
    ] {
        let objects = yaml::documents(&text).expect("YAML");
        let error = import(&objects).expect_err(&text).to_string();
        assert!(error.contains(problem), "{error}");
    }
}

#[test]
fn names_are_those_of_service_policies_and_unique() {
    let long = "x".repeat(80);
    let text = [("a.b", "true"), ("a-b", "true"), (&*long, "true")]
        .map(|(name, expression)| {
            validated(expression).replace("name: p", &format!("name: {name}"))
        })
        .concat();
    let names: Vec<Value> = manifests(&imported(&text))
        .into_iter()
        .map(|manifest| manifest["metadata"]["name"].clone())
        .collect();
    assert_eq!(names, [json!("a-b"), json!("a-b-2"), json!("x".repeat(63))]);
}

#[test]
fn parameters_are_copied() {
    let text = validated("params.data.x == 'z'").replace(
        "spec: {",
        "spec: { paramKind: { apiVersion: v1, kind: ConfigMap },",
    ) + &binding(
        "{ policyName: p, validationActions: [Deny], paramRef: { name: x, namespace: ns, \
             parameterNotFoundAction: Allow } }",
    ) + "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: x, namespace: ns }\ndata: { x: z }\n";
    let import = imported(&text);
    assert!(!import.is_incomplete());
    assert_eq!(import.ignored, 0);
    let params = &manifests(&import)[0]["spec"]["settings"]["params"];
    assert_eq!(params["data"], json!({"x": "z"}));
}

/// The rules of a binding narrow those of its policy; exclusions come last.
#[test]
fn rules_are_those_that_both_have() {
    let text = policy(
        "{ matchConstraints: {
          resourceRules: [
            { apiGroups: ['*'], apiVersions: ['*'], operations: ['*'], resources: ['*/*'] }],
          excludeResourceRules: [
            { apiGroups: [''], apiVersions: [v1], operations: [DELETE], resources: [services] }] },
          validations: [] }",
    ) + &binding(
        "{ policyName: p, validationActions: [Deny], matchResources: { resourceRules: [
            { apiGroups: [''], apiVersions: [v1], operations: [CREATE, DELETE],
              resources: [services] },
            { apiGroups: [''], apiVersions: [v1], operations: [UPDATE],
              resources: ['services/*'] }] } }",
    );
    assert_eq!(
        manifests(&imported(&text))[0]["spec"]["settings"]["matchConstraints"]["resourceRules"],
        json!([
            {"operations": ["CREATE", "UPDATE"], "resources": ["services"]},
            {"operations": ["UPDATE"], "resources": ["services/status"]},
        ])
    );
}
