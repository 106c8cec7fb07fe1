//! Checks of a directory of static manifests (KEP-5793), as `sallyport webhooks --static` writes
//! it: the faults with which an API server does not start, and what has no effect.
//!
//! Invariant: only what an API server would read is judged: the files `.yaml`, `.yml` and `.json`
//! directly in the directory of a plugin.

use super::webhook::{Configuration, Unreadable};
use super::{Diagnosis, Finding, Level};
use crate::webhooks::static_manifests::{
    MUTATING_POLICIES, MUTATING_WEBHOOKS, SUFFIX, VALIDATING_POLICIES, VALIDATING_WEBHOOKS,
};
use sallyport_core::yaml;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// The file for `--admission-control-config-file`.
const ADMISSION: &str = "admission.yaml";

const ITEM: &str = "api: AdmissionConfiguration staticManifestsDir";

/// One file.
#[derive(Debug, Clone)]
pub struct StaticFile {
    /// The path below the directory, such as `validating-policies/sallyport.yaml`.
    pub path: String,
    /// Its content.
    pub text: String,
}

/// A directory of static manifests.
#[derive(Debug, Default)]
pub struct StaticFiles {
    /// The webhook configurations in it.
    pub configurations: Vec<Configuration>,
    /// One diagnosis for each file.
    pub diagnoses: Vec<Diagnosis>,
    /// The objects of each plugin.
    objects: BTreeMap<&'static str, Vec<Value>>,
    /// The hash of each plugin's directory, as an API server tells it.
    pub(super) hashes: BTreeMap<&'static str, String>,
}

/// An admission plugin that loads static manifests.
struct Plugin {
    name: &'static str,
    configuration: &'static str,
    kinds: [&'static str; 2],
    /// The directory that `sallyport webhooks --static` makes for it.
    folder: &'static str,
}

const PLUGINS: [Plugin; 4] = [
    Plugin {
        name: "ValidatingAdmissionPolicy",
        configuration: "ValidatingAdmissionPolicyConfiguration",
        kinds: [
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
        ],
        folder: VALIDATING_POLICIES,
    },
    Plugin {
        name: "MutatingAdmissionPolicy",
        configuration: "MutatingAdmissionPolicyConfiguration",
        kinds: ["MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"],
        folder: MUTATING_POLICIES,
    },
    Plugin {
        name: "ValidatingAdmissionWebhook",
        configuration: "WebhookAdmissionConfiguration",
        kinds: [
            "ValidatingWebhookConfiguration",
            "ValidatingWebhookConfigurationList",
        ],
        folder: VALIDATING_WEBHOOKS,
    },
    Plugin {
        name: "MutatingAdmissionWebhook",
        configuration: "WebhookAdmissionConfiguration",
        kinds: [
            "MutatingWebhookConfiguration",
            "MutatingWebhookConfigurationList",
        ],
        folder: MUTATING_WEBHOOKS,
    },
];

impl StaticFiles {
    /// Checks the files of a directory. `registered` are objects of the API.
    pub fn of(files: &[StaticFile], registered: &[Value]) -> Self {
        let mut all = Self::default();
        let admission = files.iter().find(|file| file.path == ADMISSION);
        let (folders, findings) = match admission {
            Some(file) => directories(&file.text, files),
            None => (by_convention(), vec![no_configuration()]),
        };
        all.diagnose(ADMISSION, findings);
        let mut files: Vec<_> = files.iter().filter(|file| file.path != ADMISSION).collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let mut hashed: BTreeMap<&'static str, Sha256> = BTreeMap::new();
        for file in files {
            let plugin = file
                .path
                .rsplit_once('/')
                .and_then(|(folder, _)| folders.get(folder));
            let is_read = [".yaml", ".yml", ".json"]
                .iter()
                .any(|end| file.path.ends_with(end));
            let findings = match plugin.filter(|_| is_read) {
                Some(plugin) => {
                    if !file.text.is_empty() {
                        let hash = hashed.entry(plugin.name).or_default();
                        hash.update(file.text.as_bytes());
                        hash.update([0]);
                    }
                    all.read(plugin, &file.text)
                }
                None => vec![not_read()],
            };
            all.diagnose(&file.path, findings);
        }
        all.hashes = hashed
            .into_iter()
            .map(|(plugin, hash)| (plugin, format!("sha256:{:x}", hash.finalize())))
            .collect();
        let findings = all.together(registered);
        all.diagnose("all files together", findings);
        all
    }

    /// Returns the names of the plugins with manifests.
    pub(super) fn plugins(&self) -> BTreeSet<&'static str> {
        self.objects.keys().copied().collect()
    }

    fn diagnose(&mut self, path: &str, mut findings: Vec<Finding>) {
        findings.sort_by(|a, b| (a.level, &a.field).cmp(&(b.level, &b.field)));
        self.diagnoses.push(Diagnosis {
            kind: "Static",
            name: path.to_owned(),
            ours: false,
            findings,
        });
    }

    /// Reads the objects of one file.
    fn read(&mut self, plugin: &'static Plugin, text: &str) -> Vec<Finding> {
        let documents = match yaml::documents(text) {
            Ok(documents) => documents,
            Err(error) => return vec![refused("", error.to_string(), "mend the file")],
        };
        let mut findings = vec![];
        for (index, object) in documents.into_iter().enumerate() {
            let path = format!("documents[{index}]");
            findings.extend(check(plugin, &path, &object));
            match Configuration::try_from(&object) {
                Ok(configuration) => self.configurations.push(configuration),
                Err(Unreadable::Kind(_)) => {}
                Err(Unreadable::Malformed(_, error)) => {
                    findings.push(refused(&path, error, "mend the field"));
                }
            }
            self.objects.entry(plugin.name).or_default().push(object);
        }
        findings
    }

    /// Checks what one file alone does not show.
    fn together(&self, registered: &[Value]) -> Vec<Finding> {
        let mut findings = vec![];
        let objects = || self.objects.values().flatten();
        let mut seen = BTreeSet::new();
        for object in objects() {
            let what = format!("{} {}", text(object, "kind"), name(object));
            if !seen.insert(what.clone()) {
                findings.push(refused("", format!("{what} is there twice"), "remove one"));
            }
        }
        for kind in ["ValidatingAdmissionPolicy", "MutatingAdmissionPolicy"] {
            let binding = format!("{kind}Binding");
            let bindings = objects().filter(|object| object["kind"] == *binding);
            let bound = bindings.map(|binding| text(&binding["spec"], "policyName"));
            let bound: BTreeSet<_> = bound.collect();
            let policies = objects().filter(|object| object["kind"] == kind);
            let known: BTreeSet<_> = policies.map(name).collect();
            for policy in known.difference(&bound) {
                findings.push(Finding {
                    level: Level::Warning,
                    field: format!("{kind} {policy}"),
                    message: "no binding".to_owned(),
                    why: "a policy without a binding has no effect",
                    item: ITEM,
                    fix: format!("add a {binding}"),
                });
            }
            for policy in bound.difference(&known) {
                let problem =
                    format!("a {binding} names {policy:?}, which is in none of the files");
                findings.push(refused(
                    "",
                    problem,
                    "add the policy, or remove the binding",
                ));
            }
        }
        findings.extend(self.unprotected());
        findings.extend(registered.iter().filter_map(|object| self.twice(object)));
        findings
    }

    /// Finds that nothing protects the configurations in the API.
    fn unprotected(&self) -> Option<Finding> {
        let policies = self.objects.get("ValidatingAdmissionPolicy");
        let denies = |object: &&Value| {
            object["kind"] == "ValidatingAdmissionPolicyBinding"
                && text(&object["spec"], "policyName").ends_with(PROTECTION)
                && object["spec"]["validationActions"]
                    .as_array()
                    .is_some_and(|actions| actions.iter().any(|action| action == "Deny"))
        };
        let is_protected = policies.is_some_and(|all| all.iter().any(|one| denies(&one)));
        (!is_protected).then(|| Finding {
            level: Level::Warning,
            field: String::new(),
            message: "no policy whose name ends with -protection.static.k8s.io denies anything"
                .to_owned(),
            why: "every user who may delete webhook configurations can switch the webhooks off",
            item: ITEM,
            fix:
                "make the files with `sallyport webhooks --static`, and keep the protection in them"
                    .to_owned(),
        })
    }

    /// Finds a policy in the API that a static one repeats.
    fn twice(&self, registered: &Value) -> Option<Finding> {
        let kind = text(registered, "kind");
        let (static_name, plain) = (format!("{}{SUFFIX}", name(registered)), name(registered));
        let mut objects = self.objects.values().flatten();
        let is_policy = kind == "ValidatingAdmissionPolicy" || kind == "MutatingAdmissionPolicy";
        let is_repeated = is_policy
            && objects.any(|object| object["kind"] == kind && name(object) == static_name);
        is_repeated.then(|| Finding {
            level: Level::Note,
            field: format!("{kind} {static_name}"),
            message: format!("{plain} is in the API, too"),
            why: "each request is evaluated by both, to the same end",
            item: ITEM,
            fix: format!("delete {plain} and its binding from the API"),
        })
    }
}

/// The end of the name of the policy that protects the configurations in the API.
const PROTECTION: &str = "-protection.static.k8s.io";

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn name(object: &Value) -> &str {
    text(&object["metadata"], "name")
}

fn by_convention() -> BTreeMap<String, &'static Plugin> {
    let plugins = PLUGINS.iter();
    plugins
        .map(|plugin| (plugin.folder.to_owned(), plugin))
        .collect()
}

/// Reads the AdmissionConfiguration: the last part of the path of each plugin's directory.
fn directories(
    admission: &str,
    files: &[StaticFile],
) -> (BTreeMap<String, &'static Plugin>, Vec<Finding>) {
    let mut folders = BTreeMap::new();
    let mut findings = vec![];
    let document = match yaml::documents(admission) {
        Ok(mut documents) if documents.len() == 1 => documents.remove(0),
        Ok(documents) => {
            let problem = format!("expected 1 document, found {}", documents.len());
            return (
                folders,
                vec![refused(
                    "",
                    problem,
                    "keep the AdmissionConfiguration alone",
                )],
            );
        }
        Err(error) => {
            return (
                folders,
                vec![refused("", error.to_string(), "mend the file")],
            );
        }
    };
    let plugins = document["plugins"].as_array().into_iter().flatten();
    for (index, entry) in plugins.enumerate() {
        let path = format!("plugins[{index}].configuration");
        let configuration = &entry["configuration"];
        let Some(directory) = configuration["staticManifestsDir"].as_str() else {
            continue;
        };
        let named = text(entry, "name");
        let Some(plugin) = PLUGINS.iter().find(|plugin| plugin.name == named) else {
            let problem = format!("{named:?} loads no static manifests");
            findings.push(refused(
                &path,
                problem,
                "name one of the four admission plugins",
            ));
            continue;
        };
        let kind = text(configuration, "kind");
        if kind != plugin.configuration {
            let fix = format!("write {}", plugin.configuration);
            findings.push(refused(&format!("{path}.kind"), format!("{kind:?}"), &fix));
        }
        let field = format!("{path}.staticManifestsDir");
        if !directory.starts_with('/') {
            findings.push(refused(
                &field,
                format!("{directory:?}"),
                "write an absolute path",
            ));
        }
        let folder = directory
            .trim_end_matches('/')
            .rsplit('/')
            .next()
            .unwrap_or_default();
        let prefix = format!("{folder}/");
        if !files.iter().any(|file| file.path.starts_with(&prefix)) {
            let problem =
                format!("{directory:?}, and the given directory has no files in {folder}");
            let fix = "copy the directory with its files, or remove the entry";
            findings.push(refused(&field, problem, fix));
        }
        folders.insert(folder.to_owned(), plugin);
    }
    if folders.is_empty() && findings.is_empty() {
        let fix = "add the entries that `sallyport webhooks --static` writes";
        findings.push(Finding {
            level: Level::Warning,
            field: "plugins".to_owned(),
            message: "no staticManifestsDir".to_owned(),
            why: "an API server with this file reads no static manifests",
            item: ITEM,
            fix: fix.to_owned(),
        });
    }
    (folders, findings)
}

/// Checks one object of a plugin's directory.
fn check(plugin: &Plugin, path: &str, object: &Value) -> Vec<Finding> {
    let mut findings = vec![];
    let kind = text(object, "kind");
    let version = text(object, "apiVersion");
    if !plugin.kinds.contains(&kind) || version != "admissionregistration.k8s.io/v1" {
        let problem = format!("{version} {kind}");
        let [policy, other] = plugin.kinds;
        let fix =
            format!("keep {policy} and {other} of admissionregistration.k8s.io/v1 alone here");
        findings.push(refused(&format!("{path}.kind"), problem, &fix));
    }
    if !kind.ends_with("List") && !name(object).ends_with(SUFFIX) {
        let field = format!("{path}.metadata.name");
        let fix = format!("end it with {SUFFIX}");
        findings.push(refused(&field, format!("{:?}", name(object)), &fix));
    }
    for parameters in ["paramKind", "paramRef"] {
        if !object["spec"][parameters].is_null() {
            let field = format!("{path}.spec.{parameters}");
            let fix = "write the values into the expressions";
            findings.push(refused(&field, "an object of the cluster".to_owned(), fix));
        }
    }
    findings
}

/// Returns a finding about something with which an API server does not start.
fn refused(field: &str, message: String, fix: &str) -> Finding {
    Finding {
        level: Level::Error,
        field: field.to_owned(),
        message,
        why: "an API server does not start with it, and a running one keeps what it has",
        item: ITEM,
        fix: fix.to_owned(),
    }
}

fn no_configuration() -> Finding {
    Finding {
        level: Level::Note,
        field: String::new(),
        message: "no AdmissionConfiguration".to_owned(),
        why: "which directories an API server reads can't be seen",
        item: ITEM,
        fix:
            "name the directory that `sallyport webhooks --static` has written, or put the file of \
            --admission-control-config-file beside the others"
                .to_owned(),
    }
}

fn not_read() -> Finding {
    Finding {
        level: Level::Warning,
        field: String::new(),
        message: "no API server reads this file".to_owned(),
        why: "only .yaml, .yml and .json directly in the directories of admission.yaml are read",
        item: ITEM,
        fix: "move, rename or remove it".to_owned(),
    }
}
