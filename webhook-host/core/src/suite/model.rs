//! A suite, with everything resolved that does not depend on running it.
//!
//! The raw serde types stay private; a [`Suite`] that exists can be run.

use super::asked::{Asked, User};
use super::expect::Expect;
use super::places;
use super::references::{PolicySource, References, SuiteError};
use crate::admission::Function;
use crate::api_server;
use crate::contract::review::Phase;
use crate::decode::{self, DecodeError, join};
use crate::inventory::InventoryData;
use crate::manifest::{API_VERSION, Exemptions, Metadata, ServicePolicy, is_label};
use crate::printable::sentence;
use crate::schema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The time of a request that names none: 2026-01-01T00:00:00Z.
const TIME: Duration = Duration::from_secs(1_767_225_600);

/// One file of cases for one policy.
#[derive(Debug, Clone)]
pub struct Suite {
    /// The file.
    pub path: PathBuf,
    /// `metadata.name`.
    pub name: String,
    /// In the file's order, never empty, names unique.
    pub cases: Vec<Case>,
    /// The file's text.
    pub(super) text: String,
}

/// One request and its expected outcome.
#[derive(Debug, Clone)]
pub struct Case {
    /// A sentence, unique within the suite.
    pub name: String,
    /// The line at which it begins in the file, from 1.
    pub line: usize,
    /// The function that the policy is asked.
    pub function: Function,
    /// The time at which the request arrives.
    pub time: SystemTime,
    /// The host that it is sent to.
    pub setup: Arc<Setup>,
    /// The expected outcome.
    pub expect: Expect,
    /// The reason why the expectation proves nothing, so that the case fails; `--bless` fixes it.
    pub(super) silence: Option<String>,
    /// True if the object is a text that no API server need send, so that a patch of it may be
    /// one that an API server would refuse.
    pub(super) is_raw: bool,
    pub(super) request: Request,
}

/// Everything that determines the outcome beside the request. Cases with equal setups share one
/// host.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The policy, or the policies of a set, with the suite's and the case's settings; never empty.
    pub policies: Vec<Source>,
    /// The facts that it may know.
    pub inventory: InventoryData,
    /// The requests that the policies are not asked about.
    pub exemptions: Exemptions,
}

/// A policy and where it comes from.
#[derive(Debug, Clone, Serialize)]
pub struct Source {
    /// Its manifest.
    pub manifest: ServicePolicy,
    /// The file of its component. `None`: the component is in a registry, as the manifest says.
    pub component: Option<PathBuf>,
}

impl Setup {
    /// Equal for equal setups.
    pub fn fingerprint(&self) -> String {
        json!([self.policies, self.inventory, self.exemptions]).to_string()
    }
}

#[derive(Debug, Clone)]
pub(super) enum Request {
    /// The request as the suite writes it.
    Body(Value),
    Asked(Box<Asked>),
}

/// Requests to one policy, or to a set of policies, and the answer that each must get.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "Suite")]
struct File {
    /// The version of the format.
    #[serde(rename = "apiVersion")]
    #[schemars(extend("const" = API_VERSION))]
    _api_version: String,
    /// The kind of the file.
    #[serde(rename = "kind")]
    #[schemars(extend("const" = Suite::KIND))]
    _kind: String,
    /// The suite's name, which stands before a case's in reports: `nodeport-range/29999 is denied`.
    metadata: Metadata,
    /// The policy and the cases.
    spec: Spec,
}

/// The policy under test, the world around it, and the cases.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SuiteSpec")]
struct Spec {
    /// The policy or the set of policies under test.
    policy: PolicySource,
    /// A command that builds the component, such as `make`. A shell runs it in the suite's
    /// directory,
    /// for `sallyport test --build` and `--watch` alone.
    #[serde(rename = "build")]
    _build: Option<String>,
    /// Settings in place of those of the manifest, laid over the component's defaults.
    settings: Option<Map<String, Value>>,
    /// The facts about the cluster that the policy may know. It sees those that it asks for in its
    /// description, as in a cluster; a fact that no policy asks for is an error.
    #[serde(default)]
    inventory: InventoryData,
    /// Requests that the policy is not asked about, as a HostConfig lists them.
    #[serde(default)]
    exemptions: Exemptions,
    /// The cases, each with a name of its own. They do not influence one another.
    #[schemars(length(min = 1))]
    cases: Vec<CaseFile>,
}

/// One request and the answer that it must get.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "Case")]
struct CaseFile {
    /// A sentence that says what the case proves.
    name: String,
    /// Differences from the manifest for this case. The suite alone names `manifest`, `module` or
    /// `set`.
    #[serde(default)]
    policy: PolicySource,
    /// The phase that the policy sees. `validate` is asked in the validating phase by default, and
    /// `mutate` in the mutating phase.
    phase: Option<PhaseWord>,
    /// The function that the policy is asked.
    #[serde(default)]
    function: FunctionWord,
    /// The operation; by default UPDATE with an `oldObject`, else CREATE.
    operation: Option<OperationWord>,
    /// The subresource that is written, such as `status`; by default none.
    sub_resource: Option<String>,
    /// The user who sends the request; by default `jane`, a person without special rights.
    #[serde(default)]
    #[schemars(default)]
    user: User,
    /// True for `--dry-run=server` and `kubectl diff`.
    #[serde(default)]
    dry_run: bool,
    /// The namespace of the request; by default the object's, or `default`.
    namespace: Option<String>,
    /// The time of the request, RFC 3339; by default 2026-01-01T00:00:00Z.
    time: Option<String>,
    /// Settings in place of those of the suite, all of them.
    settings: Option<Map<String, Value>>,
    /// Changes to the settings of the suite or the manifest, as a JSON merge patch (RFC 7386): what
    /// is not named stays, and null removes a key.
    settings_patch: Option<Map<String, Value>>,
    /// Facts in place of those of the suite, all of them.
    inventory: Option<InventoryData>,
    /// A whole AdmissionReview, as an API server sends it.
    request: Option<Value>,
    /// The Service, as the API server would send it: `apiVersion` and `kind` may be left out, and
    /// nothing is defaulted. A field that no Service has is an error; `rawObject` takes any.
    object: Option<Value>,
    /// The Service as JSON text, for what no API server sends: unknown fields, duplicate keys,
    /// broken JSON. A patch may then make what an API server would refuse.
    raw_object: Option<String>,
    /// A file that holds the Service, relative to the suite: `service.yaml`, or `all.yaml#name` or
    /// `all.yaml#namespace/name` for one of several.
    manifest: Option<String>,
    /// The Service before the update.
    old_object: Option<Value>,
    /// The answer that the request must get.
    expect: Option<Expect>,
}

/// A phase of admission.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Phase")]
enum PhaseWord {
    /// At the end: the object as it will be stored.
    Validating,
    /// Before the API server allocates and validates.
    Mutating,
}

/// A function of a policy.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Function")]
enum FunctionWord {
    /// Judges the object.
    #[default]
    Validate,
    /// Patches the object.
    Mutate,
}

/// An operation of an AdmissionReview.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[schemars(rename = "Operation")]
enum OperationWord {
    Create,
    Update,
    Delete,
    Connect,
}

impl Case {
    /// The AdmissionReview of this case, as the API server would send it to the webhook.
    pub fn review_body(&self) -> Vec<u8> {
        match &self.request {
            Request::Body(body) => body.to_string().into_bytes(),
            Request::Asked(asked) => asked.body(asked.object.as_deref().unwrap_or("null")),
        }
    }

    /// The AdmissionReview of this case with another object, such as the patched one.
    pub(super) fn review_body_of(&self, object: &Value) -> Vec<u8> {
        match &self.request {
            Request::Body(body) => {
                let mut body = body.clone();
                body["request"]["object"] = object.clone();
                body.to_string().into_bytes()
            }
            Request::Asked(asked) => asked.body(&object.to_string()),
        }
    }
}

impl Suite {
    /// The kind.
    pub const KIND: &'static str = "Suite";

    /// Returns the JSON Schema of the format. Objects may be anything: a suite may hold bad ones.
    pub fn schema() -> Value {
        schema::of::<File>()
    }

    /// Returns true if a document claims to be a suite.
    pub(super) fn is(document: &Value) -> bool {
        document.get("kind").and_then(Value::as_str) == Some(Self::KIND)
    }

    /// Returns the cases whose `suite/case` name contains the filter, with their index.
    pub fn chosen<'a>(&'a self, filter: &'a str) -> impl Iterator<Item = (usize, &'a Case)> {
        let is_chosen = move |case: &Case| format!("{}/{}", self.name, case.name).contains(filter);
        let cases = self.cases.iter().enumerate();
        cases.filter(move |(_, case)| is_chosen(case))
    }

    pub(super) fn parse(
        path: PathBuf,
        text: String,
        document: &Value,
        files: &References<'_>,
    ) -> Result<Self, SuiteError> {
        let place = |error: DecodeError| SuiteError::new(&path, error.to_string());
        check_head(document).map_err(place)?;
        let file: File = decode::from_value(document).map_err(place)?;
        check_names(&file).map_err(place)?;
        let base = files
            .policies(&file.spec.policy)
            .map_err(|error| place(under("spec.policy", error)))?;
        let lines = places::places(&text);
        let mut cases = vec![];
        for (index, case) in file.spec.cases.iter().enumerate() {
            let line = lines.get(index).map_or(1, |place| place.line);
            let shown = |error: DecodeError| {
                let at = under(&format!("spec.cases[{index}]"), error);
                SuiteError::new(&path, format!("line {line}: {at} (case {:?})", case.name))
            };
            cases.push(
                case.resolve(line, &file.spec, &base, files)
                    .map_err(shown)?,
            );
        }
        Ok(Self {
            path,
            name: file.metadata.name,
            cases,
            text,
        })
    }
}

fn under(parent: &str, error: DecodeError) -> DecodeError {
    DecodeError::new(join(parent, &error.path), error.problem)
}

fn check_head(document: &Value) -> Result<(), DecodeError> {
    match document.get("apiVersion").and_then(Value::as_str) {
        Some(API_VERSION) => Ok(()),
        found => Err(DecodeError::new(
            "apiVersion",
            format!("expected {API_VERSION}, found {found:?}"),
        )),
    }
}

fn check_names(file: &File) -> Result<(), DecodeError> {
    let name = &file.metadata.name;
    if !is_label(name) {
        let allowed = "use lower-case letters, digits and '-', at most 63 characters";
        return Err(DecodeError::new(
            "metadata.name",
            format!("{name:?} is no name; {allowed}"),
        ));
    }
    if file.spec.cases.is_empty() {
        return Err(DecodeError::new(
            "spec.cases",
            "empty; a suite without cases proves nothing",
        ));
    }
    let mut seen = BTreeSet::new();
    for (index, case) in file.spec.cases.iter().enumerate() {
        let path = format!("spec.cases[{index}].name");
        if case.name.trim().is_empty() {
            return Err(DecodeError::new(
                path,
                "empty; say in a sentence what the case proves",
            ));
        }
        if !seen.insert(case.name.as_str()) {
            return Err(DecodeError::new(
                path,
                format!("{:?} stands twice; each case needs its own name", case.name),
            ));
        }
    }
    Ok(())
}

/// Refuses fields that no Service has: an API server never sends them, so that a case with one
/// proves something else than it says.
fn check_fields(object: &Value) -> Result<(), DecodeError> {
    let is = |key: &str, word: &str| object.get(key).is_none_or(|found| found == word);
    if !is("apiVersion", "v1") || !is("kind", "Service") {
        return Ok(());
    }
    let Some(refusal) = api_server::unknown(object).into_iter().next() else {
        return Ok(());
    };
    let problem = sentence("", &refusal.problem, &refusal.fix);
    let problem = format!("{problem} (rawObject takes what no API server sends)");
    Err(DecodeError::new(refusal.field, problem))
}

impl CaseFile {
    fn resolve(
        &self,
        line: usize,
        spec: &Spec,
        base: &[(Value, Option<PathBuf>)],
        files: &References<'_>,
    ) -> Result<Case, DecodeError> {
        let function = self.function()?;
        let expect = self.expect.clone().unwrap_or_default();
        let request = self.request(&expect, files)?;
        let mut setup = self.setup(spec, base)?;
        // A host lets pass deletions in namespaces that it does not know, so that no policy of a
        // cluster is ever asked about one.
        if let Request::Asked(asked) = &request
            && asked.operation == "DELETE"
        {
            let namespaces = &mut setup.inventory.namespaces;
            namespaces.entry(asked.namespace.clone()).or_default();
        }
        Ok(Case {
            silence: expect.problem(function == Function::Mutate),
            is_raw: self.raw_object.is_some(),
            name: self.name.clone(),
            line,
            function,
            time: self.time()?,
            setup: Arc::new(setup),
            request,
            expect,
        })
    }

    fn function(&self) -> Result<Function, DecodeError> {
        match (self.function, self.phase) {
            (FunctionWord::Mutate, Some(PhaseWord::Validating)) => Err(DecodeError::new(
                "phase",
                "`function: mutate` belongs to the mutating phase; remove the key",
            )),
            (FunctionWord::Mutate, _) => Ok(Function::Mutate),
            (FunctionWord::Validate, Some(PhaseWord::Mutating)) => {
                Ok(Function::Validate(Phase::Mutating))
            }
            (FunctionWord::Validate, _) => Ok(Function::Validate(Phase::Validating)),
        }
    }

    fn time(&self) -> Result<SystemTime, DecodeError> {
        let Some(text) = &self.time else {
            return Ok(SystemTime::UNIX_EPOCH + TIME);
        };
        let wrong = |_| {
            DecodeError::new(
                "time",
                format!("{text:?} is no time of RFC 3339, such as 2026-01-01T00:00:00Z"),
            )
        };
        text.parse::<jiff::Timestamp>()
            .map(SystemTime::from)
            .map_err(wrong)
    }

    fn setup(&self, spec: &Spec, base: &[(Value, Option<PathBuf>)]) -> Result<Setup, DecodeError> {
        if self.policy.manifest.is_some()
            || self.policy.module.is_some()
            || self.policy.set.is_some()
        {
            return Err(DecodeError::new(
                "policy",
                "a suite is about one policy or one set; name manifest, module or set in \
                 spec.policy",
            ));
        }
        let settings = self.settings.as_ref().or(spec.settings.as_ref());
        let given = match (settings, &self.settings_patch) {
            (Some(_), _) => Some("settings"),
            (None, Some(_)) => Some("settingsPatch"),
            (None, None) => None,
        };
        if let Some(given) = given.filter(|_| spec.policy.set.is_some()) {
            return Err(DecodeError::new(
                given,
                "the policies of a set have their own; write them into its manifests",
            ));
        }
        let source = |(manifest, component): &(Value, Option<PathBuf>)| {
            let mut manifest = manifest.clone();
            spec.policy.lay_over(&mut manifest["spec"]);
            self.policy.lay_over(&mut manifest["spec"]);
            if let Some(settings) = settings {
                manifest["spec"]["settings"] = Value::Object(settings.clone());
            }
            if let Some(patch) = &self.settings_patch {
                let patch = Value::Object(patch.clone());
                json_patch::merge(&mut manifest["spec"]["settings"], &patch);
            }
            let manifest =
                ServicePolicy::from_value(&manifest).map_err(|error| under("policy", error))?;
            Ok(Source {
                manifest,
                component: component.clone(),
            })
        };
        let policies = base.iter().map(source).collect::<Result<_, _>>()?;
        let inventory = self.inventory.as_ref().unwrap_or(&spec.inventory).clone();
        Ok(Setup {
            policies,
            inventory,
            exemptions: spec.exemptions.clone(),
        })
    }

    fn request(&self, expect: &Expect, files: &References<'_>) -> Result<Request, DecodeError> {
        let given = [
            ("request", self.request.is_some()),
            ("object", self.object.is_some()),
            ("rawObject", self.raw_object.is_some()),
            ("manifest", self.manifest.is_some()),
        ];
        let given: Vec<_> = given
            .into_iter()
            .filter(|(_, given)| *given)
            .map(|(key, _)| key)
            .collect();
        if let [_, second, ..] = given[..] {
            return Err(DecodeError::new(
                second,
                format!("{} exclude each other; keep one", given.join(" and ")),
            ));
        }
        let objectless = matches!(
            self.operation,
            Some(OperationWord::Delete | OperationWord::Connect)
        );
        if given.is_empty() && !objectless && expect.settings_error.is_none() {
            return Err(DecodeError::new(
                "object",
                "required, but missing; give object, rawObject, manifest or request",
            ));
        }
        match &self.request {
            Some(_) if self.old_object.is_some() => Err(DecodeError::new(
                "oldObject",
                "`request` is a whole AdmissionReview; put oldObject into it",
            )),
            Some(body) => Ok(Request::Body(body.clone())),
            None => Ok(Request::Asked(Box::new(self.asked(files)?))),
        }
    }

    fn asked(&self, files: &References<'_>) -> Result<Asked, DecodeError> {
        let object = match &self.manifest {
            Some(file) => Some(
                files
                    .object(file)
                    .map_err(|error| under("manifest", error))?,
            ),
            None => self.object.clone(),
        };
        let given = if self.manifest.is_some() {
            "manifest"
        } else {
            "object"
        };
        let objects = [(given, &object), ("oldObject", &self.old_object)];
        for (key, object) in objects {
            object
                .as_ref()
                .map_or(Ok(()), check_fields)
                .map_err(|error| under(key, error))?;
        }
        let text = |pointer: &str| {
            let find = |object: &Option<Value>| {
                object
                    .as_ref()
                    .and_then(|object| Some(object.pointer(pointer)?.as_str()?.to_owned()))
            };
            find(&object).or_else(|| find(&self.old_object))
        };
        let api_version = text("/apiVersion").unwrap_or_else(|| "v1".to_owned());
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        let kind = text("/kind").unwrap_or_else(|| "Service".to_owned());
        Ok(Asked {
            kind: (group.to_owned(), version.to_owned(), kind),
            operation: self.operation(),
            sub_resource: self.sub_resource.clone(),
            name: text("/metadata/name").unwrap_or_default(),
            namespace: self
                .namespace
                .clone()
                .or_else(|| text("/metadata/namespace"))
                .unwrap_or("default".to_owned()),
            user: self.user.clone(),
            dry_run: self.dry_run,
            object: self
                .raw_object
                .clone()
                .or_else(|| object.as_ref().map(Value::to_string)),
            old_object: self.old_object.clone(),
        })
    }

    fn operation(&self) -> &'static str {
        match self.operation {
            Some(OperationWord::Create) => "CREATE",
            Some(OperationWord::Update) => "UPDATE",
            Some(OperationWord::Delete) => "DELETE",
            Some(OperationWord::Connect) => "CONNECT",
            None if self.old_object.is_some() => "UPDATE",
            None => "CREATE",
        }
    }
}
