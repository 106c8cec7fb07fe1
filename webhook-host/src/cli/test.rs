//! `sallyport test`: runs suites.

mod build;
mod watch;

use super::cache::CacheArgs;
use super::inputs::PathArgs;
use super::output::{DetailArgs, Progress, TestFormat, error, note, print};
use super::registry::RegistryArgs;
use crate::engine::Engine;
use crate::suites;
use crate::suites::{ModuleSearch, RecordingSearch};
use anyhow::{Context as _, Result};
use build::Build;
use clap::Args;
use sallyport_core::manifest::HostConfigSpec;
use sallyport_core::report;
use sallyport_core::suite::{
    Blessing, CaseReport, Runner, Suite, SuiteError, SuiteReport, TestReport,
};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

/// Run test suites against policies, offline, exactly as the webhook would answer.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(mut_arg("paths", |paths| paths.value_name("FILE|DIR").help("Suite files, or directories \
    of them with all below")))]
#[command(mut_arg("filename", |filename| filename.value_name("FILE|DIR")))]
pub(super) struct TestArgs {
    #[command(flatten)]
    paths: PathArgs,
    /// Directory of the modules that the suites' manifests name [default: each manifest's
    /// directory, its target/wasm32-unknown-unknown/release, then the shipped ones].
    #[arg(
        long,
        alias = "policies",
        value_name = "DIR",
        env = "SALLYPORT_MODULES"
    )]
    modules: Option<PathBuf>,
    /// Only cases whose `suite/case` name contains this text.
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    filter: String,
    /// List the cases, and run none.
    #[arg(long, conflicts_with_all = ["bless", "build", "watch"])]
    list: bool,
    /// Rewrite the `expect` of failing cases with what was got. Read the diff before you commit it.
    #[arg(long)]
    bless: bool,
    /// Build the components first: by the suites' own commands (spec.build), each in its suite's
    /// directory, or by this command, here.
    #[arg(long, value_name = "COMMAND", num_args = 0..=1, require_equals = true)]
    build: Option<Option<String>>,
    /// Build and test again whenever a file changes: below the suites' directories, what the suites
    /// name, and with a command of --build also below the current directory. Hidden files, `target`
    /// and `node_modules` are left out. Ctrl-C ends it.
    #[arg(long, conflicts_with = "bless")]
    watch: bool,
    #[command(flatten)]
    detail: DetailArgs,
    /// Format of the report.
    #[arg(long, short, value_enum, default_value_t = TestFormat::Text)]
    output: TestFormat,
    #[command(flatten)]
    registry: RegistryArgs,
    #[command(flatten)]
    cache: CacheArgs,
}

const EXAMPLES: &str = "\
A suite:

  apiVersion: sallyport.dev/v1alpha1
  kind: Suite
  metadata: { name: nodeport-range }
  spec:
    policy: { manifest: policy.yaml }        # or  module: { file: policy.wasm }
    settings: { ranges: [{ from: 30000, to: 32767 }] }
    cases:
    - name: 29999 is below the range
      object:
        metadata: { name: web }
        spec: { type: NodePort, ports: [{ port: 80, nodePort: 29999 }] }
      expect:
        allowed: false
        violations:
        - { rule: S02, field: 'spec.ports[0].nodePort', message: { contains: '29999' } }

A case fails for anything that it does not list: no further violations, no warnings, no patch.
A case that fails shows what its policy logged; with -v those that pass do, too.
docs/suites.md explains every key, and `sallyport schema suite` has them for editors.

Examples:
  sallyport test tests/fixtures
  sallyport test suite.yaml --filter 'below the range'
  sallyport test suite.yaml --bless && git diff suite.yaml
  sallyport test . --watch --build='make policy.wasm'
  sallyport test tests/fixtures --output junit > report.xml

Exit code: 0 all passed, 1 something failed, 2 nothing could be run.";

/// Runs the subcommand.
///
/// # Errors
///
/// When the engine can't start, a build command fails, or a blessed suite can't be written.
pub(super) fn run(args: &TestArgs) -> Result<ExitCode> {
    if args.list {
        return list(args);
    }
    let engine = args.cache.engine_for_suites()?;
    if args.watch {
        return watch::run(args, &engine);
    }
    if let Some(build) = args.build() {
        build.run()?;
    }
    let round = Round::run(args, &engine)?;
    Ok(exit_code(args, &round.report))
}

impl TestArgs {
    /// Returns the build that `--build` asks for.
    fn build(&self) -> Option<Build> {
        let paths = self.paths.all();
        match &self.build {
            None => None,
            Some(Some(command)) => Some(Build::here(command)),
            Some(None) => Some(Build::of_suites(&paths)),
        }
    }

    fn search(&self) -> RecordingSearch {
        RecordingSearch::new(ModuleSearch {
            directory: self.modules.clone(),
        })
    }
}

/// One run of all suites.
struct Round {
    report: TestReport,
    /// The files that the suites named.
    named: BTreeSet<PathBuf>,
}

impl Round {
    /// Runs the suites and prints the report.
    fn run(args: &TestArgs, engine: &Arc<Engine>) -> Result<Self> {
        let search = args.search();
        let suites = read(args, &search);
        let all = chosen(args, &suites);
        let config = HostConfigSpec::default();
        let session = args.registry.session(&args.cache, &config)?;
        let mut runner = suites::runner(Arc::clone(engine), session.into_pull());
        let mut progress = Progress::new();
        let mut report = TestReport::default();
        for suite in suites {
            let done = report.cases();
            let mut step = |cases| progress.show(done + cases, all, "cases");
            report.suites.push(match suite {
                Ok(suite) => run_suite(args, &mut runner, &suite, &mut step)?,
                Err(error) => broken(&error.path, error.problem),
            });
        }
        drop(progress);
        print(&render(args, &report))?;
        if args.output.leaves_out_summary(&args.detail) {
            note(report::tests::summary(&report));
        }
        let named = search.into_named();
        Ok(Self { report, named })
    }
}

/// Reads the suites. Those that can't be read come first.
fn read(args: &TestArgs, search: &RecordingSearch) -> Vec<Result<Suite, SuiteError>> {
    let (files, errors) = suites::find(&args.paths.all());
    let suites = files.iter().map(|file| suites::read(file, search));
    errors.into_iter().map(Err).chain(suites).collect()
}

/// Counts the cases that `--filter` leaves.
fn chosen(args: &TestArgs, suites: &[Result<Suite, SuiteError>]) -> usize {
    let suites = suites.iter().flatten();
    suites.map(|suite| suite.chosen(&args.filter).count()).sum()
}

fn list(args: &TestArgs) -> Result<ExitCode> {
    let suites = read(args, &args.search());
    let chosen = chosen(args, &suites);
    let (suites, errors): (Vec<_>, Vec<_>) = suites.into_iter().partition(Result::is_ok);
    let suites: Vec<_> = suites.into_iter().flatten().collect();
    print(&match args.output {
        TestFormat::Json => report::tests::json_list(&suites, &args.filter),
        TestFormat::Text | TestFormat::Junit | TestFormat::Github => {
            report::tests::list(&suites, &args.filter)
        }
    })?;
    let errors: Vec<_> = errors.into_iter().filter_map(Result::err).collect();
    errors.iter().for_each(error);
    if chosen == 0 && errors.is_empty() {
        nothing_chosen(args);
    }
    Ok(ExitCode::from(if chosen == 0 || !errors.is_empty() {
        2
    } else {
        0
    }))
}

fn broken(path: &Path, problem: String) -> SuiteReport {
    SuiteReport {
        path: path.to_owned(),
        name: path.display().to_string(),
        problem: Some(problem),
        cases: vec![],
    }
}

fn run_suite(
    args: &TestArgs,
    runner: &mut Runner,
    suite: &Suite,
    step: &mut dyn FnMut(usize),
) -> Result<SuiteReport> {
    let mut blessing = Blessing::new(suite);
    let mut cases = vec![];
    let mut blessed = vec![];
    let mut began = Instant::now();
    for (index, finding) in runner.run_suite(suite, &args.filter) {
        let elapsed = began.elapsed();
        let case = &suite.cases[index];
        let failure = finding.failure(case);
        if args.bless && failure.is_some() && finding.can_be_blessed() {
            blessing.add(index, &finding.got);
            blessed.push(cases.len());
        }
        cases.push(CaseReport {
            name: case.name.clone(),
            line: case.line,
            failure,
            elapsed,
            log: finding.log,
        });
        step(cases.len());
        began = Instant::now();
    }
    let mut report = SuiteReport {
        path: suite.path.clone(),
        name: suite.name.clone(),
        problem: None,
        cases,
    };
    if !blessed.is_empty() {
        write(&blessing, &blessed, &mut report)?;
    }
    Ok(report)
}

fn write(blessing: &Blessing<'_>, blessed: &[usize], report: &mut SuiteReport) -> Result<()> {
    match blessing.text() {
        Err(error) => report.problem = Some(format!("not blessed: {error}")),
        Ok(text) => {
            std::fs::write(&report.path, text)
                .with_context(|| format!("{}: can't write", report.path.display()))?;
            for case in blessed {
                let case = &mut report.cases[*case];
                case.failure = None;
                note(format_args!(
                    "blessed {}/{} ({}:{})",
                    report.name,
                    case.name,
                    report.path.display(),
                    case.line
                ));
            }
        }
    }
    Ok(())
}

fn render(args: &TestArgs, report: &TestReport) -> String {
    match args.output {
        TestFormat::Text => report::tests::text(report, args.detail.view()),
        TestFormat::Json => report::tests::json(report),
        TestFormat::Junit => report::tests::junit(report),
        TestFormat::Github => report::github::failures(report),
    }
}

fn exit_code(args: &TestArgs, report: &TestReport) -> ExitCode {
    match report.count() {
        (0, 0) => {
            nothing_chosen(args);
            ExitCode::from(2)
        }
        (_, 0) => ExitCode::SUCCESS,
        _ if report.suites.iter().all(|suite| suite.cases.is_empty()) => ExitCode::from(2),
        _ => ExitCode::FAILURE,
    }
}

fn nothing_chosen(args: &TestArgs) {
    error(format_args!(
        "no case matches --filter {:?}; case names are `suite/case`",
        args.filter
    ));
}
