//! `sallyport test`: runs suites.

use super::cache::CacheArgs;
use super::inputs::PathArgs;
use super::output::{DetailArgs, Progress, TestFormat, error, note, print};
use crate::suites;
use crate::suites::ModuleSearch;
use anyhow::Context as _;
use clap::Args;
use sallyport_core::report;
use sallyport_core::suite::{Blessing, CaseReport, Runner, Suite, SuiteReport, TestReport};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
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
    /// Directory of the modules that the suites' manifests name [default: beside the manifest, then
    /// with the shipped ones].
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
    /// Rewrite the `expect` of failing cases with what was got. Read the diff before you commit it.
    #[arg(long)]
    bless: bool,
    #[command(flatten)]
    detail: DetailArgs,
    /// Format of the report.
    #[arg(long, short, value_enum, default_value_t = TestFormat::Text)]
    output: TestFormat,
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

Whatever a case leaves unlisted must not happen: no further violations, no warnings, no patch.

Examples:
  sallyport test tests/fixtures
  sallyport test suite.yaml --filter 'below the range'
  sallyport test suite.yaml --bless && git diff suite.yaml
  sallyport test tests/fixtures --output junit > report.xml

Exit code: 0 all passed, 1 something failed, 2 nothing could be run.";

/// Runs the subcommand.
///
/// # Errors
///
/// When the engine can't start or a blessed suite can't be written.
pub(super) fn run(args: &TestArgs) -> anyhow::Result<ExitCode> {
    let search = ModuleSearch {
        directory: args.modules.clone(),
    };
    let (files, errors) = suites::find(&args.paths.all());
    let mut report = TestReport::default();
    report.suites.extend(
        errors
            .into_iter()
            .map(|error| broken(&error.path, error.problem)),
    );
    let mut runner = suites::runner(args.cache.engine()?);
    let mut progress = Progress::new();
    let all = files.len();
    for (index, file) in files.into_iter().enumerate() {
        progress.show(index, all, "suites");
        report.suites.push(match suites::read(&file, &search) {
            Ok(suite) => run_suite(args, &mut runner, &suite)?,
            Err(error) => broken(&error.path, error.problem),
        });
    }
    drop(progress);
    print(&render(args, &report))?;
    Ok(exit_code(args, &report))
}

fn broken(path: &Path, problem: String) -> SuiteReport {
    SuiteReport {
        path: path.to_owned(),
        name: path.display().to_string(),
        problem: Some(problem),
        cases: vec![],
    }
}

fn run_suite(args: &TestArgs, runner: &mut Runner, suite: &Suite) -> anyhow::Result<SuiteReport> {
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
        });
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

fn write(
    blessing: &Blessing<'_>,
    blessed: &[usize],
    report: &mut SuiteReport,
) -> anyhow::Result<()> {
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
            error(format_args!(
                "no case matches --filter {:?}; case names are `suite/case`",
                args.filter
            ));
            ExitCode::from(2)
        }
        (_, 0) => ExitCode::SUCCESS,
        _ if report.suites.iter().all(|suite| suite.cases.is_empty()) => ExitCode::from(2),
        _ => ExitCode::FAILURE,
    }
}
