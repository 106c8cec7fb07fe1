//! The corpus in `tests/parity`: expressions and admission policies, the requests that they are
//! asked about, and the answers that a real API server gave.
//!
//! `tests/all/vap.rs` asks the component `expressions`, in every run, and compares;
//! `tests/cluster/vap.rs` asks an API server where one is at hand, and makes the answers anew with
//! `WRITE_PARITY=1`.

use crate::root;
use sallyport_core::yaml;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The namespace of requests that name none.
pub const NAMESPACE: &str = "parity";

/// The file of expressions whose answers are different here, on purpose.
pub const DIFFERENT: &str = "different";

/// Expressions that are asked about one Service.
pub struct Expressions {
    /// The file's name without its end.
    pub name: String,
    /// The Service.
    pub service: Value,
    /// The number of the first expression.
    pub first: usize,
    /// The expressions.
    pub texts: Vec<String>,
}

impl Expressions {
    /// Returns the expressions with their numbers, which no other file has.
    pub fn numbered(&self) -> impl Iterator<Item = (usize, &str)> {
        (self.first..).zip(self.texts.iter().map(String::as_str))
    }
}

/// The value of an expression.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// The value, as `format` prints it.
    Value(String),
    /// The evaluation ended with an error.
    Error(String),
    /// The policy can't be created.
    Refused(String),
}

/// An expression with its recorded answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Answered {
    /// The expression.
    pub expression: String,
    /// The answer of the API server.
    #[serde(flatten)]
    pub answer: Answer,
}

/// Answers about the expressions of one file.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExpressionAnswers {
    /// The Service, as policies see it.
    pub object: Value,
    /// The user.
    pub user_info: Value,
    /// The answers, in the order of the file.
    pub answers: Vec<Answered>,
}

/// Admission policies and the requests that they are asked about.
pub struct PolicyFile {
    /// The file's name without its end.
    pub name: String,
    /// Policies, bindings and parameters.
    pub objects: Vec<Value>,
    /// The namespaces that the requests need.
    pub namespaces: BTreeMap<String, Namespace>,
    /// The requests.
    pub requests: Vec<Request>,
}

/// The metadata of a namespace.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Namespace {
    /// Its labels, without the one that the API server adds.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// A request for a Service.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// A name for messages.
    pub name: String,
    /// The namespace.
    #[serde(default = "namespace")]
    pub namespace: String,
    /// The operation.
    pub operation: Operation,
    /// `status`, or empty.
    #[serde(default)]
    pub subresource: String,
    /// The user; None is the administrator.
    pub user: Option<User>,
    /// The Service as the client sends it.
    pub object: Option<Value>,
    /// The Service as it was before.
    pub old: Option<Value>,
}

fn namespace() -> String {
    NAMESPACE.to_owned()
}

/// An operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Operation {
    /// POST.
    Create,
    /// PUT.
    Update,
    /// DELETE.
    Delete,
}

impl Operation {
    /// Returns the name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }
}

/// A user whom the administrator impersonates.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct User {
    /// The name.
    pub username: String,
    /// The id.
    pub uid: String,
    /// The groups, beside `system:masters`.
    pub groups: Vec<String>,
    /// More about the user.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl Request {
    /// Returns the name of the Service.
    ///
    /// # Panics
    ///
    /// When the request has no Service.
    #[must_use]
    pub fn service(&self) -> &str {
        let service = self.object.as_ref().or(self.old.as_ref());
        let name = service.and_then(|service| service["metadata"]["name"].as_str());
        name.unwrap_or_else(|| panic!("{}: no Service", self.name))
    }
}

/// A request with its recorded answer.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Recorded {
    /// The user, as policies see it.
    pub user_info: Value,
    /// The new Service, as policies see it.
    pub object: Value,
    /// The old Service, as policies see it.
    pub old_object: Value,
    /// The verdict.
    pub verdict: Verdict,
}

/// The answer to a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Verdict {
    /// The denial.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denied: Option<Denied>,
    /// The warnings, sorted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The messages of validations that the audit log has, sorted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub audited: Vec<String>,
    /// The audit annotations of policies, by key.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Labels, annotations and spec of the patched Service, where there is a mutation.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub patched: Value,
}

/// A denial.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Denied {
    /// The HTTP code.
    pub code: u16,
    /// The reason.
    pub reason: String,
    /// The message of the validation.
    pub message: String,
}

/// The answers of an API server.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Answers<T> {
    /// Its version.
    pub server: String,
    /// The answers, by file.
    pub files: BTreeMap<String, T>,
}

/// Answers about the expressions.
pub type AnsweredExpressions = Answers<ExpressionAnswers>;
/// Answers about the policies, by request.
pub type AnsweredPolicies = Answers<BTreeMap<String, Recorded>>;

impl<T: DeserializeOwned + Serialize> Answers<T> {
    /// Reads recorded answers.
    ///
    /// # Panics
    ///
    /// When there are none.
    #[must_use]
    pub fn read(name: &str) -> Self {
        let file = path(name);
        let text = text(&file);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    }

    /// Records answers.
    ///
    /// # Panics
    ///
    /// When they can't be written.
    pub fn write(&self, name: &str) {
        let text = serde_json::to_string_pretty(self).expect("JSON");
        std::fs::write(path(name), text + "\n").expect("written");
    }
}

fn path(name: &str) -> PathBuf {
    root()
        .join("tests/parity/answers")
        .join(format!("{name}.json"))
}

/// Returns the expressions of all files.
///
/// # Panics
///
/// When a file can't be read.
#[must_use]
pub fn expressions() -> Vec<Expressions> {
    let mut first = 0;
    let read = |(name, text): (String, String)| {
        let own = root().join(format!("tests/parity/objects/{name}.yaml"));
        let service = match own.exists() {
            true => own,
            false => root().join("tests/parity/objects/service.yaml"),
        };
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let texts: Vec<String> = lines.map(str::to_owned).collect();
        first += texts.len();
        Expressions {
            name,
            service: documents(&self::text(&service)).remove(0),
            first: first - texts.len(),
            texts,
        }
    };
    files("expressions").into_iter().map(read).collect()
}

/// Returns the policies of all files.
///
/// # Panics
///
/// When a file can't be read.
#[must_use]
pub fn policies() -> Vec<PolicyFile> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Requests {
        #[serde(rename = "apiVersion")]
        _api_version: String,
        #[serde(rename = "kind")]
        _kind: String,
        #[serde(default)]
        namespaces: BTreeMap<String, Namespace>,
        requests: Vec<Request>,
    }
    let read = |(name, text): (String, String)| {
        let (requests, objects): (Vec<_>, Vec<_>) = documents(&text)
            .into_iter()
            .partition(|document| document["kind"] == "Requests");
        let [requests] = requests.try_into().expect("one document of Requests");
        let Requests {
            mut namespaces,
            requests,
            ..
        } = serde_json::from_value(requests).unwrap_or_else(|error| panic!("{name}: {error}"));
        namespaces.entry(NAMESPACE.to_owned()).or_default();
        PolicyFile {
            name,
            objects,
            namespaces,
            requests,
        }
    };
    files("policies").into_iter().map(read).collect()
}

fn documents(text: &str) -> Vec<Value> {
    yaml::documents(text).unwrap_or_else(|error| panic!("{error}"))
}

/// Returns names and texts of the files in a folder.
fn files(folder: &str) -> Vec<(String, String)> {
    let folder = root().join("tests/parity").join(folder);
    let entries = std::fs::read_dir(&folder).expect("the folder is there");
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("readable").path())
        .collect();
    files.sort();
    let stem = |file: &Path| {
        file.file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned()
    };
    files.iter().map(|file| (stem(file), text(file))).collect()
}

fn text(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Returns a policy with its binding that shows the values of expressions, each in a denial of the
/// Service `case-N`.
#[must_use]
pub fn showing(name: &str, expressions: &[(usize, &str)]) -> Vec<Value> {
    let variables: Vec<Value> = expressions
        .iter()
        .map(|(number, text)| json!({"name": format!("v{number}"), "expression": text}))
        .collect();
    let show = |number: usize| {
        json!({
            "expression": format!(
                "request.name != 'case-{number}' || [variables.v{number}].size() == 2"
            ),
            "messageExpression": format!("'=' + '%s'.format([dyn(variables.v{number})])"),
            "message": "no text",
        })
    };
    let validations: Vec<Value> = expressions
        .iter()
        .map(|(number, _)| show(*number))
        .collect();
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": [{
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "operations": ["CREATE"],
                "resources": ["services"],
            }]},
            "variables": variables,
            "validations": validations,
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    });
    vec![policy, binding]
}

/// Reads the answer of a policy that [`showing`] made from the message of its denial.
#[must_use]
pub fn shown(message: &str) -> Answer {
    match message.strip_prefix('=') {
        Some(value) => Answer::Value(value.to_owned()),
        None if message == "no text" => Answer::Value(message.to_owned()),
        None => {
            // The text of the validation is ours.
            let error = message.split_once("resulted in error: ");
            Answer::Error(error.map_or(message, |(_, error)| error).to_owned())
        }
    }
}

/// Returns what policies can patch, without what an API server allocates.
#[must_use]
pub fn patchable(service: &Value) -> Value {
    let mut spec = service["spec"].clone();
    if let Some(spec) = spec.as_object_mut() {
        for allocated in [
            "clusterIP",
            "clusterIPs",
            "healthCheckNodePort",
            "ipFamilies",
            "ipFamilyPolicy",
        ] {
            spec.remove(allocated);
        }
    }
    let metadata = &service["metadata"];
    json!({"labels": metadata["labels"], "annotations": metadata["annotations"], "spec": spec})
}
