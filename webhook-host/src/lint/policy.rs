//! Findings about a ServicePolicy: errors of loading it with its component as `serve` does, and
//! settings that are allowed but rarely intended.

use super::matching;
use super::node_ports::ClusterRange;
use super::{error, finding};
use crate::engine::Engine;
use crate::evaluator;
use crate::registry::{Registry, Session, SourcePolicy};
use crate::shipped;
use crate::sources::load;
use crate::suites::{self, ModuleSearch};
use sallyport_core::contract::description::{Compared, Context, Description};
use sallyport_core::contract::review::Phase;
use sallyport_core::excerpt::excerpt;
use sallyport_core::manifest::{
    Candidate, FailurePolicy, Mode, Module, PolicyExemptions, Reference, ServicePolicy, is_label,
};
use sallyport_core::policy::LoadError;
use sallyport_core::report::check::{Finding, Level, Subject};
use sallyport_core::suite::{Files, Runner};
use sallyport_core::yaml::Located;
use std::cell::Cell;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The timeout of the mutating webhook, as `sallyport webhooks` sets it.
const MUTATING_TIMEOUT: Duration = Duration::from_secs(2);

/// Loads components from one directory; or from beside each manifest, and else the shipped one.
pub(super) struct Loader {
    engine: Arc<Engine>,
    runner: Runner,
    modules: Option<PathBuf>,
    /// The directory of the shipped components, unless the user has named another one.
    shipped: Option<PathBuf>,
    session: Session,
    node_ports: Option<ClusterRange>,
}

impl Loader {
    pub(super) fn new(
        engine: Arc<Engine>,
        modules: Option<PathBuf>,
        registry: Arc<Registry>,
        node_ports: Option<ClusterRange>,
    ) -> Self {
        let session = || registry.session(SourcePolicy::default());
        Self {
            runner: suites::runner(Arc::clone(&engine), session().into_pull()),
            engine,
            shipped: modules.is_none().then(shipped::policies).flatten(),
            modules,
            session: session(),
            node_ports,
        }
    }

    fn directory<'a>(&'a self, file: &'a Path) -> &'a Path {
        self.modules
            .as_deref()
            .unwrap_or_else(|| file.parent().unwrap_or(Path::new("")))
    }

    /// Returns the path of a component.
    fn module(&self, directory: &Path, name: &str) -> PathBuf {
        let named = directory.join(name);
        let shipped = self.shipped.as_ref().map(|shipped| shipped.join(name));
        match shipped {
            Some(shipped) if !named.exists() && shipped.exists() => shipped,
            _ => named,
        }
    }

    /// Loads a policy and its candidate, and returns the errors that `serve` would report.
    pub(super) fn check(
        &self,
        file: &Path,
        document: &Located,
        manifest: &ServicePolicy,
    ) -> Vec<Finding> {
        let stated = manifest.spec.candidate.as_ref();
        let (live, next) = manifest.clone().split();
        let mut findings = self.version(file, document, live, None);
        let own_module = stated.is_some_and(|stated| stated.module.is_some());
        // An error of the shared component was reported for the live policy already.
        let is_new = own_module
            || findings
                .iter()
                .all(|finding| !finding.field.starts_with("spec.module."));
        if let Some(next) = next.filter(|_| is_new) {
            findings.extend(self.version(file, document, next, stated));
        }
        findings
    }

    /// Loads the policy, or its candidate with the fields `stated` there.
    fn version(
        &self,
        file: &Path,
        document: &Located,
        manifest: ServicePolicy,
        stated: Option<&Candidate>,
    ) -> Vec<Finding> {
        let field = match (stated, manifest.spec.module.field()) {
            (None, field) => field.to_owned(),
            (Some(_), field) => field.replacen("spec.", "spec.candidate.", 1),
        };
        let field = field.as_str();
        let name = match &manifest.spec.module {
            Module::File(name) => name.clone(),
            Module::Oci(reference) => {
                return self.pulled(document, field, reference, &manifest, stated);
            }
        };
        let directory = self.directory(file);
        let module = self.module(directory, &name);
        match std::fs::read(&module) {
            Ok(component) => {
                let shown = module.display().to_string();
                self.load(document, manifest, &component, &shown, stated)
            }
            Err(problem) if self.modules.is_some() || load::has_modules(directory) => {
                let hint = load::nearest_module(directory, &name);
                vec![error(
                    document,
                    field,
                    format!("can't read {}: {problem}{hint}", module.display()),
                )]
            }
            Err(_) => {
                let message = format!(
                    "{name} is neither beside the manifest nor shipped, so that the settings \
                     were not checked"
                );
                vec![finding(
                    Level::Note,
                    document,
                    field,
                    message,
                    "name its directory with --modules",
                )]
            }
        }
    }

    /// Loads a component of a registry. When nothing can be pulled here, the settings are left
    /// unchecked.
    fn pulled(
        &self,
        document: &Located,
        field: &str,
        reference: &Reference,
        manifest: &ServicePolicy,
        stated: Option<&Candidate>,
    ) -> Vec<Finding> {
        let mut findings = vec![];
        if manifest.spec.mode == Mode::Enforce && reference.digest.is_none() {
            let problem = "mode Enforce needs a digest, because a tag can be moved; add \
                @sha256:… (sallyport pull prints it)";
            findings.push(error(document, field, problem.to_owned()));
        }
        match self.session.pull(reference, manifest.spec.mode) {
            Ok(pulled) => {
                let (component, shown) = (pulled.component, reference.to_string());
                findings.extend(self.load(document, manifest.clone(), &component, &shown, stated));
            }
            Err(problem) if problem.reason.is_about_access() => {
                let message = format!("{problem}, so that the settings were not checked");
                findings.push(finding(Level::Note, document, field, message, ""));
            }
            Err(problem) => findings.push(error(document, field, problem.to_string())),
        }
        findings
    }

    fn load(
        &self,
        document: &Located,
        manifest: ServicePolicy,
        component: &[u8],
        shown: &str,
        stated: Option<&Candidate>,
    ) -> Vec<Finding> {
        let module = manifest.spec.module.clone();
        let policy = match evaluator::load(&self.engine, manifest, component) {
            Ok(policy) => policy,
            Err(problem) => {
                let problem = problem.in_module(&module, shown);
                let problem = stated.into_iter().fold(problem, LoadError::in_candidate);
                let place = |(field, message): (String, String)| error(document, &field, message);
                return problem.places().map(place).collect();
            }
        };
        let mode = policy.manifest().spec.mode;
        let description = policy.description().into_iter();
        let forgotten = description.flat_map(|description| forgotten(description, mode));
        let forgotten: Vec<_> = forgotten
            .map(|(message, fix)| finding(Level::Warning, document, module.field(), message, fix))
            .collect();
        let slow = policy.configured_per_instance().map(|why| {
            let message = format!("it is configured anew for every review, which is slow: {why}");
            let field = if stated.is_some() {
                "spec.candidate"
            } else {
                module.field()
            };
            finding(Level::Note, document, field, message, "")
        });
        let settings = match stated {
            None => Some("spec.settings"),
            Some(stated) => stated.settings.as_ref().map(|_| "spec.candidate.settings"),
        };
        let odd = self.node_ports.iter().zip(settings);
        let odd = odd.flat_map(|(range, field)| range.findings(document, &policy, field));
        let named = policy
            .description()
            .filter(|description| !is_label(&description.name))
            .map(|description| {
                let message = format!(
                    "its component describes itself by the name {:?}; a name has lower-case \
                     letters, digits and '-', at most 63 characters",
                    excerpt(&description.name)
                );
                let fix = "correct the name that `describe` returns, and build it again";
                finding(Level::Error, document, module.field(), message, fix)
            });
        forgotten
            .into_iter()
            .chain(slow)
            .chain(odd)
            .chain(named)
            .collect()
    }

    /// Runs a suite beside the policies, where the components can be found.
    pub(super) fn suite(&mut self, file: &Path) -> Subject {
        let search = SuiteSearch::in_modules(self.modules.clone());
        let source = file.display().to_string();
        let findings = match suites::read(file, &search) {
            Err(problem) => {
                // Before a policy is built, its suite says no more than its manifest.
                let is_unbuilt = search.misses_component.get()
                    && self.modules.is_none()
                    && !load::has_modules(self.directory(file));
                let level = if is_unbuilt {
                    Level::Note
                } else {
                    Level::Error
                };
                vec![Finding {
                    message: problem.problem,
                    ..Finding::empty(level)
                }]
            }
            Ok(suite) => {
                let ran = self.runner.run_suite(&suite, "");
                let failed = ran.into_iter().filter_map(|(index, got)| {
                    let case = &suite.cases[index];
                    got.failure(case)?;
                    let message =
                        format!("case {:?} fails; see `sallyport test {source}`", case.name);
                    Some(Finding {
                        message,
                        line: case.line,
                        ..Finding::empty(Level::Error)
                    })
                });
                failed.collect()
            }
        };
        Subject {
            findings,
            service: Some("Suite".to_owned()),
            ..Subject::unread(&source, String::new())
        }
    }
}

/// The files that a suite names. Remembers that a component was not found.
struct SuiteSearch {
    search: ModuleSearch,
    misses_component: Cell<bool>,
}

impl SuiteSearch {
    /// Searches components in this directory, else where `test` does.
    fn in_modules(directory: Option<PathBuf>) -> Self {
        Self {
            search: ModuleSearch { directory },
            misses_component: Cell::new(false),
        }
    }
}

impl Files for SuiteSearch {
    fn text(&self, path: &Path) -> io::Result<String> {
        self.search.text(path)
    }

    fn set(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        self.search.set(path)
    }

    fn component(&self, file: &str, beside: &Path) -> Result<PathBuf, String> {
        let found = self.search.find(file, beside);
        self.misses_component.set(found.is_err());
        found
    }
}

/// Returns what the description of a policy seems to have forgotten, each with its fix.
fn forgotten(description: &Description, mode: Mode) -> Vec<(String, &'static str)> {
    let asks = |context: Context| description.context.contains(&context);
    let mut found = vec![];
    // A pattern is for all that somebody may write: it needs none of them.
    let is_one = |key: &str| !key.contains('*');
    for compared in &description.compares {
        let (what, fix) = match compared {
            Compared::NamespaceLabel(key) if is_one(key) && !asks(Context::Namespace) => (
                format!("the label {key:?} of namespaces"),
                "add `namespace` to the description's context",
            ),
            Compared::NamespaceAnnotation(key)
                if is_one(key) && !asks(Context::NamespaceAnnotations) =>
            {
                (
                    format!("the annotation {key:?} of namespaces"),
                    "add `namespace-annotations` to the description's context",
                )
            }
            _ => continue,
        };
        let message = format!("it compares {what} by its description, and never gets it");
        found.push((message, fix));
    }
    if description.phases == [Phase::Mutating] && mode != Mode::Enforce {
        found.push((
            format!("it only patches, and mode {mode:?} does not patch"),
            "use mode Enforce, or remove the policy",
        ));
    }
    found
}

/// Returns a warning for each exemption of a policy that holds everything or everybody.
fn wide_exemptions(document: &Located, exemptions: &PolicyExemptions) -> Vec<Finding> {
    let warn = |field: String, message: String, fix: &str| {
        finding(Level::Warning, document, &field, message, fix)
    };
    let services = exemptions.services.iter().enumerate();
    let services = services.filter_map(|(index, pattern)| {
        let field = format!("spec.exemptions.services[{index}]");
        let written = pattern.to_string();
        if pattern.is_everything() {
            let message = format!("{written:?} is every Service: the policy is never asked");
            Some(warn(field, message, "name Services, or remove the policy"))
        } else if pattern.is_of_any_namespace() {
            let message =
                format!("{written:?}: whoever may create Services anywhere can take such a name");
            Some(warn(field, message, "name the namespace"))
        } else {
            None
        }
    });
    let groups = exemptions.groups.iter().enumerate();
    let groups = groups
        .filter(|(_, group)| group.is_everybody())
        .map(|(index, group)| {
            let who = match group.as_str() {
                "system:serviceaccounts" => "every service account, controllers and CI included",
                _ => "everybody",
            };
            warn(
                format!("spec.exemptions.groups[{index}]"),
                format!("{:?} is {who}", group.as_str()),
                "name a smaller group, unless that is meant",
            )
        });
    services.chain(groups).collect()
}

/// Returns findings about what is allowed and rarely intended.
pub(super) fn odd(document: &Located, manifest: &ServicePolicy) -> Vec<Finding> {
    let spec = &manifest.spec;
    let warn = |field: &str, message: String, fix: &str| {
        finding(Level::Warning, document, field, message, fix)
    };
    let mut findings = vec![];
    if spec.mode == Mode::Enforce && spec.failure_policy == FailurePolicy::Ignore {
        let message =
            "mode Enforce with failurePolicy Ignore: whatever makes the policy fail lets a request \
             pass".to_owned();
        findings.push(warn(
            "spec.failurePolicy",
            message,
            "use Fail, unless that is meant",
        ));
    }
    let (selector, excluded) = spec.r#match.written();
    let excluded: Vec<_> = excluded.map(str::to_owned).collect();
    let contradiction = |selector| matching::contradiction(selector, &excluded);
    if let Some(key) = selector.as_ref().and_then(contradiction) {
        let message = format!(
            "no namespace can match what is asked of the label {key:?}: the policy is never asked"
        );
        findings.push(warn(
            "spec.match.namespaceSelector",
            message,
            "remove one of the requirements",
        ));
    }
    let expressions = selector.and_then(|selector| selector.match_expressions);
    for (index, requirement) in expressions.iter().flatten().enumerate() {
        let has_values = requirement.values.iter().flatten().next().is_some();
        if has_values && matches!(requirement.operator.as_str(), "Exists" | "DoesNotExist") {
            findings.push(warn(
                &format!("spec.match.namespaceSelector.matchExpressions[{index}].values"),
                format!(
                    "{} takes no values: these have no effect",
                    requirement.operator
                ),
                "use In or NotIn, or remove them",
            ));
        }
    }
    findings.extend(wide_exemptions(document, &spec.exemptions));
    if spec.limits.deadline.duration() >= MUTATING_TIMEOUT {
        let message = format!(
            "{} is as long as an API server waits for all policies together",
            spec.limits.deadline
        );
        findings.push(warn(
            "spec.limits.deadline",
            message,
            "use some milliseconds, such as 50ms",
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use sallyport_core::contract::description::About;

    #[test]
    fn a_context_that_is_compared_and_not_asked_for_was_forgotten() {
        let description = |context: &[Context], phases: &[Phase]| Description {
            name: "p".to_owned(),
            version: "1".to_owned(),
            phases: phases.to_vec(),
            operations: vec![],
            resources: vec![],
            context: context.to_vec(),
            about: About::empty(),
            compares: vec![
                Compared::NamespaceLabel("env".to_owned()),
                Compared::NamespaceAnnotation("a/b".to_owned()),
                Compared::NamespaceLabel("*".to_owned()),
                Compared::Label("x".to_owned()),
            ],
        };
        let both = [Context::Namespace, Context::NamespaceAnnotations];
        let validating = [Phase::Validating];
        let count = |context, phases, mode| forgotten(&description(context, phases), mode).len();
        assert_eq!(count(&[], &validating, Mode::Warn), 2);
        assert_eq!(count(&both, &validating, Mode::Warn), 0);
        assert_eq!(count(&both, &[Phase::Mutating], Mode::Warn), 1);
        assert_eq!(count(&both, &[Phase::Mutating], Mode::Enforce), 0);
    }
}
