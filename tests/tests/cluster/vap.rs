//! The answers of the API server to the corpus in `tests/parity`, with which
//! `tests/all/vap.rs` compares those of the component `expressions`.
//!
//! With `WRITE_PARITY=1` they are recorded. Otherwise those that are recorded must be the ones that
//! this server gives, if it is of the same version.

use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use sallyport_tests::cluster::Cluster;
use sallyport_tests::parity::{
    self, Answer, Answered, AnsweredExpressions, AnsweredPolicies, Answers, Denied,
    ExpressionAnswers, Expressions, NAMESPACE, Operation, PolicyFile, Recorded, Request, User,
    Verdict, patchable,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";

/// The number of variables that are created at once, to learn which of them are refused.
const CHUNK: usize = 40;

/// The pause before the next attempt.
const PAUSE: Duration = Duration::from_millis(100);

/// The number of attempts: a minute.
const ATTEMPTS: usize = 600;

#[test]
#[cfg_attr(not(api_server_1_30), ignore = "no kube-apiserver of 1.30 or newer")]
fn the_recorded_answers_are_those_of_the_api_server() {
    let cluster = Cluster::audited("vap");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let (version, expressions, policies) = runtime.block_on(async {
        let oracle = Oracle::new(&cluster).await;
        let version = oracle.version().await;
        oracle.create_namespaces().await;
        let mut expressions = BTreeMap::new();
        for file in parity::expressions() {
            let answers = oracle.expressions(&file).await;
            expressions.insert(file.name, answers);
        }
        let mut policies = BTreeMap::new();
        for file in parity::policies() {
            let answers = oracle.policies(&file).await;
            policies.insert(file.name.clone(), answers);
        }
        (version, expressions, policies)
    });
    let expressions = AnsweredExpressions {
        server: version.clone(),
        files: expressions,
    };
    let policies = AnsweredPolicies {
        server: version.clone(),
        files: policies,
    };
    if std::env::var_os("WRITE_PARITY").is_some() {
        expressions.write("expressions");
        policies.write("policies");
        return;
    }
    compare(
        &Answers::read("expressions"),
        &expressions,
        |answers: &ExpressionAnswers| &answers.answers,
    );
    let verdicts = |answers: &AnsweredPolicies| Answers {
        server: answers.server.clone(),
        files: answers
            .files
            .iter()
            .map(|(name, recorded)| (name.clone(), verdicts(recorded)))
            .collect(),
    };
    compare(
        &verdicts(&Answers::read("policies")),
        &verdicts(&policies),
        |verdicts| verdicts,
    );
}

fn verdicts(recorded: &BTreeMap<String, Recorded>) -> BTreeMap<String, Verdict> {
    let verdict = |(name, recorded): (&String, &Recorded)| (name.clone(), recorded.verdict.clone());
    recorded.iter().map(verdict).collect()
}

fn compare<T, P: PartialEq + std::fmt::Debug>(
    recorded: &Answers<T>,
    given: &Answers<T>,
    part: impl Fn(&T) -> &P,
) {
    if recorded.server != given.server {
        println!("recorded with {}, not {}", recorded.server, given.server);
        return;
    }
    assert!(
        recorded.files.keys().eq(given.files.keys()),
        "files are missing; record the answers with WRITE_PARITY=1"
    );
    for (name, given) in &given.files {
        assert_eq!(part(&recorded.files[name]), part(given), "{name}");
    }
}

/// An API server that answers.
struct Oracle<'a> {
    cluster: &'a Cluster,
    client: Client,
}

/// An answer of the API server.
struct Reply {
    code: u16,
    warnings: Vec<String>,
    audit_id: String,
    body: Value,
}

impl Reply {
    fn is_success(&self) -> bool {
        self.code < 300
    }

    fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }

    /// Returns the body of a success.
    #[track_caller]
    fn ok(self) -> Value {
        assert!(self.is_success(), "{}: {}", self.code, self.message());
        self.body
    }
}

impl<'a> Oracle<'a> {
    async fn new(cluster: &'a Cluster) -> Self {
        let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig()).expect("the cluster wrote it");
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .expect("whole");
        let client = Client::try_from(config).expect("a client");
        Self { cluster, client }
    }

    async fn version(&self) -> String {
        let version = self.call("GET", "/version", None, None).await.ok();
        version["gitVersion"].as_str().expect("a text").to_owned()
    }

    async fn call(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        user: Option<&User>,
    ) -> Reply {
        let mut request = axum::http::Request::builder()
            .method(method)
            .uri(path)
            .header("Content-Type", "application/json");
        if let Some(user) = user {
            request = request
                .header("Impersonate-User", &user.username)
                .header("Impersonate-Group", "system:masters");
            for group in &user.groups {
                request = request.header("Impersonate-Group", group);
            }
            if !user.uid.is_empty() {
                request = request.header("Impersonate-Uid", &user.uid);
            }
            for (key, values) in &user.extra {
                for value in values {
                    let name = format!("Impersonate-Extra-{}", key.replace('/', "%2F"));
                    request = request.header(name, value);
                }
            }
        }
        let body = body.map_or_else(Body::empty, |body| {
            Body::from(body.to_string().into_bytes())
        });
        let request = request.body(body).expect("a request");
        let reply = self.client.send(request).await.expect("an answer");
        let header = |name: &str| -> Vec<String> {
            let values = reply.headers().get_all(name).iter();
            values
                .map(|value| value.to_str().expect("a text").to_owned())
                .collect()
        };
        let warnings = header("Warning");
        let code = reply.status().as_u16();
        let audit_id = header("Audit-Id").pop().unwrap_or_default();
        let body = reply.into_body().collect_bytes().await.expect("a body");
        Reply {
            code,
            warnings: warnings.iter().map(|line| warning(line)).collect(),
            audit_id,
            body: serde_json::from_slice(&body).unwrap_or_default(),
        }
    }

    async fn create_namespaces(&self) {
        let mut all: BTreeMap<String, parity::Namespace> = BTreeMap::new();
        for file in parity::policies() {
            for (name, namespace) in file.namespaces {
                let is_own = all.insert(name.clone(), namespace).is_none();
                assert!(is_own || name == NAMESPACE, "{name} is of two files");
            }
        }
        for (name, namespace) in all {
            let object = json!({"metadata": {
                "name": name,
                "labels": namespace.labels,
                "annotations": namespace.annotations,
            }});
            self.call("POST", "/api/v1/namespaces", Some(&object), None)
                .await
                .ok();
        }
    }

    /// Creates policies and bindings, and waits until they act. Returns their paths.
    async fn install(&self, objects: &[Value]) -> Vec<String> {
        let mut paths = vec![];
        let mutates = objects
            .iter()
            .any(|object| object["kind"] == "MutatingAdmissionPolicy");
        for object in objects.iter().chain(&sentinel(mutates)) {
            let collection = collection(object);
            self.call("POST", &collection, Some(object), None)
                .await
                .ok();
            let name = object["metadata"]["name"].as_str().expect("a name");
            paths.push(format!("{collection}/{name}"));
        }
        self.await_sentinel(true, mutates).await;
        paths
    }

    async fn remove(&self, paths: Vec<String>) {
        for path in paths.iter().rev() {
            self.call("DELETE", path, None, None).await.ok();
        }
        self.await_sentinel(false, false).await;
    }

    async fn await_sentinel(&self, acts: bool, mutates: bool) {
        let service = json!({
            "metadata": {"name": "sentinel", "namespace": NAMESPACE},
            "spec": {"ports": [{"port": 80}]},
        });
        let patched = json!({
            "metadata": {"name": "sentinel-patched", "namespace": NAMESPACE},
            "spec": {"ports": [{"port": 80}]},
        });
        attempts("the policies", async || {
            let reply = self
                .call("POST", &services(NAMESPACE), Some(&service), None)
                .await;
            if reply.message().contains("the sentinel") != acts {
                return Err(format!("{}: {}", reply.code, reply.message()));
            }
            if mutates {
                let path = services(NAMESPACE);
                let reply = self.call("POST", &path, Some(&patched), None).await;
                if reply.body["metadata"]["labels"]["sentinel"].is_null() {
                    return Err("not patched".to_owned());
                }
            }
            Ok(())
        })
        .await;
    }

    /// Asks about all expressions of a file.
    async fn expressions(&self, file: &Expressions) -> ExpressionAnswers {
        let mut answers: Vec<Option<Answer>> = vec![None; file.texts.len()];
        let numbered: Vec<(usize, &str)> = file.numbered().collect();
        for chunk in numbered.chunks(CHUNK) {
            for (number, problem) in self.refused(chunk).await {
                answers[number - file.first] = Some(Answer::Refused(problem));
            }
        }
        let named = |name: String| {
            let mut service = file.service.clone();
            service["metadata"]["name"] = name.into();
            service
        };
        let reply = self
            .call(
                "POST",
                &services(NAMESPACE),
                Some(&named("case-0".to_owned())),
                None,
            )
            .await;
        let event = self.event(&reply.audit_id).await;
        let object = reply.ok();
        let rest: Vec<(usize, &str)> = numbered
            .into_iter()
            .filter(|(number, _)| answers[number - file.first].is_none())
            .collect();
        let policies = rest
            .chunks(CHUNK)
            .flat_map(|chunk| parity::showing(&format!("expressions-{}", chunk[0].0), chunk));
        let paths = self.install(&policies.collect::<Vec<_>>()).await;
        for (number, text) in rest {
            let service = named(format!("case-{number}"));
            let reply = self
                .call("POST", &services(NAMESPACE), Some(&service), None)
                .await;
            let denied = denied(&reply).unwrap_or_else(|| panic!("{text}: {}", reply.body));
            answers[number - file.first] = Some(parity::shown(&denied.message));
        }
        self.remove(paths).await;
        let answers = file.texts.iter().zip(answers);
        ExpressionAnswers {
            object,
            user_info: user_info(&event),
            answers: answers
                .map(|(expression, answer)| Answered {
                    expression: expression.clone(),
                    answer: answer.expect("asked"),
                })
                .collect(),
        }
    }

    /// Returns the expressions for which a policy can't be created, with the reason.
    async fn refused(&self, chunk: &[(usize, &str)]) -> Vec<(usize, String)> {
        let policy = &parity::showing("refused", chunk)[0];
        let path = format!("{}?dryRun=All", collection(policy));
        let reply = self.call("POST", &path, Some(policy), None).await;
        let causes = reply.body["details"]["causes"].as_array();
        let causes = causes.map(Vec::as_slice).unwrap_or_default();
        let of_variable = |cause: &Value| {
            let field = cause["field"].as_str()?;
            let rest = field.strip_prefix("spec.variables[")?;
            let index: usize = rest.split(']').next()?.parse().ok()?;
            let message = cause["message"].as_str()?;
            // The other lines show the expression.
            let problems = match message.split_once("compilation failed: ") {
                Some((_, problems)) => problems
                    .lines()
                    .filter_map(|line| line.strip_prefix("ERROR: <input>:"))
                    .collect::<Vec<_>>()
                    .join("\n"),
                None => message.strip_prefix("Internal error: ")?.to_owned(),
            };
            Some((chunk[index].0, problems))
        };
        let refused: Vec<_> = causes.iter().filter_map(of_variable).collect();
        assert!(
            reply.is_success() || !refused.is_empty(),
            "{}",
            reply.message()
        );
        refused
    }

    /// Asks about all requests of a file.
    async fn policies(&self, file: &PolicyFile) -> BTreeMap<String, Recorded> {
        let mut objects = vec![];
        for request in &file.requests {
            objects.push(self.prepare(request).await);
        }
        let is_param = |object: &&Value| object["kind"] == "ConfigMap";
        for param in file.objects.iter().filter(is_param) {
            self.call("POST", &collection(param), Some(param), None)
                .await
                .ok();
        }
        let policies: Vec<Value> = file
            .objects
            .iter()
            .filter(|object| !is_param(object))
            .cloned()
            .collect();
        let mutates = policies
            .iter()
            .any(|object| object["kind"] == "MutatingAdmissionPolicy");
        let paths = self.install(&policies).await;
        let mut recorded = BTreeMap::new();
        for (request, (object, old_object)) in file.requests.iter().zip(objects) {
            let reply = self.decided(request).await;
            let event = self.event(&reply.audit_id).await;
            let mut verdict = verdict(&reply, &event);
            let object = match mutates {
                true => {
                    verdict.patched = patchable(&reply.ok());
                    // Policies of this kind see no more than that and what is in the file.
                    request.object.clone().unwrap_or_default()
                }
                false => object,
            };
            let before = recorded.insert(
                request.name.clone(),
                Recorded {
                    user_info: user_info(&event),
                    object,
                    old_object,
                    verdict,
                },
            );
            assert!(before.is_none(), "{} is there twice", request.name);
        }
        self.remove(paths).await;
        for request in &file.requests {
            if request.old.is_some() {
                let path = format!(
                    "/api/v1/namespaces/{}/services/{}",
                    request.namespace,
                    request.service()
                );
                self.call("DELETE", &path, None, None).await.ok();
            }
        }
        recorded
    }

    /// Creates the old Service of a request. Returns both Services as policies see them.
    async fn prepare(&self, request: &Request) -> (Value, Value) {
        let mut old_object = Value::Null;
        if let Some(old) = &request.old {
            let path = format!("/api/v1/namespaces/{}/services", request.namespace);
            old_object = self.call("POST", &path, Some(old), None).await.ok();
        }
        let object = match request.operation {
            Operation::Delete => Value::Null,
            _ => self.send(request).await.ok(),
        };
        (object, old_object)
    }

    /// Sends a request, without effect.
    async fn send(&self, request: &Request) -> Reply {
        let mut path = format!("/api/v1/namespaces/{}/services", request.namespace);
        let method = match request.operation {
            Operation::Create => "POST",
            Operation::Update => "PUT",
            Operation::Delete => "DELETE",
        };
        if request.operation != Operation::Create {
            path = format!("{path}/{}", request.service());
        }
        if !request.subresource.is_empty() {
            path = format!("{path}/{}", request.subresource);
        }
        path.push_str("?dryRun=All");
        let object = request.object.as_ref();
        self.call(method, &path, object, request.user.as_ref())
            .await
    }

    /// Sends a request until the API server has the parameters at hand.
    async fn decided(&self, request: &Request) -> Reply {
        attempts(&request.name, async || {
            let reply = self.send(request).await;
            match reply.message().contains("yet synced") {
                true => Err(reply.message().to_owned()),
                false => Ok(reply),
            }
        })
        .await
    }

    /// Returns the event of a request in the audit log.
    async fn event(&self, id: &str) -> Value {
        let file = self.cluster.audit_log();
        attempts("the audit log", async || {
            let log = std::fs::read_to_string(&file).map_err(|error| error.to_string())?;
            let line = log.lines().rev().find(|line| line.contains(id));
            let line = line.ok_or("no such event")?;
            serde_json::from_str(line).map_err(|error| error.to_string())
        })
        .await
    }
}

async fn attempts<T, F: Future<Output = Result<T, String>>>(
    what: &str,
    mut attempt: impl FnMut() -> F,
) -> T {
    for _ in 0..ATTEMPTS {
        match attempt().await {
            Ok(found) => return found,
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
    match attempt().await {
        Ok(found) => found,
        Err(error) => panic!("{what}: {error}"),
    }
}

/// Returns policies that show that all older ones act.
fn sentinel(mutates: bool) -> Vec<Value> {
    let constraints = json!({"resourceRules": [{
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE"],
        "resources": ["services"],
    }]});
    let object = |kind: &str, spec: Value| {
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": kind,
            "metadata": {"name": "sentinel"},
            "spec": spec,
        })
    };
    let mut objects = vec![
        object(
            "ValidatingAdmissionPolicy",
            json!({
                "matchConstraints": constraints,
                "validations": [
                    {"expression": "request.name != 'sentinel'", "message": "the sentinel"},
                ],
            }),
        ),
        object(
            "ValidatingAdmissionPolicyBinding",
            json!({"policyName": "sentinel", "validationActions": ["Deny"]}),
        ),
    ];
    if mutates {
        let patch = "[JSONPatch{op: 'add', path: '/metadata/labels', value: {'sentinel': 'x'}}]";
        objects.extend([
            object(
                "MutatingAdmissionPolicy",
                json!({
                    "matchConstraints": constraints,
                    "matchConditions": [
                        {"name": "own", "expression": "request.name == 'sentinel-patched'"},
                    ],
                    "reinvocationPolicy": "Never",
                    "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": patch}}],
                }),
            ),
            object(
                "MutatingAdmissionPolicyBinding",
                json!({"policyName": "sentinel"}),
            ),
        ]);
    }
    objects
}

/// Reads `299 - "text"`.
fn warning(line: &str) -> String {
    let text = line.split_once('"').map_or("", |(_, text)| text);
    let text = text.strip_suffix('"').unwrap_or(text);
    text.replace("\\\"", "\"").replace("\\\\", "\\")
}

/// Returns the path of the collection to which an object belongs.
fn collection(object: &Value) -> String {
    let kind = object["kind"].as_str().expect("a kind");
    if kind == "ConfigMap" {
        let namespace = object["metadata"]["namespace"]
            .as_str()
            .expect("a namespace");
        return format!("/api/v1/namespaces/{namespace}/configmaps");
    }
    let plural = match kind.strip_suffix("Policy") {
        Some(stem) => format!("{stem}Policies"),
        None => format!("{kind}s"),
    };
    format!("{GROUP}/{}", plural.to_lowercase())
}

fn services(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/services?dryRun=All")
}

fn user_info(event: &Value) -> Value {
    let impersonated = &event["impersonatedUser"];
    match impersonated.is_null() {
        true => event["user"].clone(),
        false => impersonated.clone(),
    }
}

/// Returns the denial by a policy.
fn denied(reply: &Reply) -> Option<Denied> {
    let (_, message) = reply.message().split_once(" denied request: ")?;
    Some(Denied {
        code: reply.code,
        reason: reply.body["reason"].as_str().unwrap_or_default().to_owned(),
        message: message.to_owned(),
    })
}

fn verdict(reply: &Reply, event: &Value) -> Verdict {
    let denied = denied(reply);
    assert!(
        reply.is_success() || denied.is_some(),
        "refused, but not by a policy: {}",
        reply.message()
    );
    // The API server has warnings of its own, too.
    let message = |warning: &String| {
        let (head, message) = warning.split_once("': ")?;
        head.starts_with("Validation failed for ValidatingAdmissionPolicy")
            .then(|| message.to_owned())
    };
    let mut warnings: Vec<String> = reply.warnings.iter().filter_map(message).collect();
    warnings.sort();
    let mut audited = vec![];
    let mut annotations = BTreeMap::new();
    let noted = event["annotations"].as_object().into_iter().flatten();
    for (key, value) in noted {
        let value = value.as_str().unwrap_or_default();
        if key == "validation.policy.admission.k8s.io/validation_failure" {
            let failures: Vec<Value> = serde_json::from_str(value).expect("a list");
            let messages = failures.iter().map(|failure| failure["message"].as_str());
            audited.extend(messages.flatten().map(str::to_owned));
        } else if !key.contains("k8s.io/") {
            annotations.insert(key.clone(), value.to_owned());
        }
    }
    audited.sort();
    Verdict {
        denied,
        warnings,
        audited,
        annotations,
        patched: Value::Null,
    }
}
