//! `sallyport exposures`: every way into a cluster.

use super::audited::{AuditedArgs, Wanted};
use super::output::{DetailArgs, TextFormat, print, print_json};
use crate::audit::{Earlier, listed};
use crate::report::exposures::{self as report, ExposuresReport};
use anyhow::{Context as _, Result, ensure};
use clap::Args;
use jiff::Timestamp;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Bytes of an earlier run: some hundred thousand doors.
const MAX_EARLIER: u64 = 256 << 20;

/// Show every way into a cluster: which Service opens it, how far, who wrote that, and which policy
/// allows it.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(mut_arg("quiet", |quiet| quiet.help("Print no summary")))]
#[command(mut_arg("verbose", |verbose| verbose.hide(true)))]
pub(super) struct ExposuresArgs {
    /// JSON of an earlier run: print what was opened, widened, narrowed and closed since
    #[arg(long, value_name = "FILE")]
    since: Option<PathBuf>,
    #[command(flatten)]
    detail: DetailArgs,
    /// Format. The JSON is what --since reads
    #[arg(long, short, value_enum, default_value_t = TextFormat::Text)]
    output: TextFormat,
    #[command(flatten)]
    audited: AuditedArgs,
}

const EXAMPLES: &str = "\
Doors, the widest first: load balancers (`anyone`, or `perhaps anyone` where nothing makes them \
    internal for certain), annotations and labels that export, external IPs, node ports, \
    internal load balancers, addresses that other Services may share, and DNS aliases. All by \
    the tables of docs/rules.md#facts, which the policies use, too.

WRITTEN BY is the field manager that last wrote the field, with the age of its last write. \
    POLICIES says who would refuse the door today, or which policies were asked and allow it.

Examples:
  sallyport exposures --policies-from-cluster
  sallyport exposures --policies policies/ -n shop
  sallyport exposures --output json > monday.json
  sallyport exposures --since monday.json                    # what was opened this week?
  kubectl get services,namespaces -A -o json --show-managed-fields | sallyport exposures -

Exit code: 0, or 2 when something could not be judged or read.";

/// Runs the subcommand.
///
/// # Errors
///
/// When policies can't be loaded, or the cluster or the earlier run can't be read.
pub(super) fn run(args: &ExposuresArgs) -> Result<ExitCode> {
    let earlier = args.since.as_deref().map(earlier).transpose()?;
    let judges = args.audited.judges(Wanted {
        doors: true,
        against: None,
        notes: !args.detail.is_quiet(),
    })?;
    let mut results = judges.results(false);
    args.audited.read(&judges, &mut results)?;
    if let Some(earlier) = &earlier {
        ensure!(
            earlier.scope.selector == results.scope.selector,
            "--since: the earlier run looked at {}, and this one at {}; give the same --selector",
            earlier.scope.selected(),
            results.scope.selected()
        );
        let unseen = earlier.unseen(results.rows());
        if !unseen.is_empty() {
            let names = listed(unseen.iter().copied());
            let problem = format!(
                "the earlier run did not look at these namespaces, so that nobody knows what was \
                 opened there: {names}"
            );
            results.problems.push(problem);
        }
    }
    let since = earlier.map(|earlier| {
        for gap in &earlier.gaps {
            results
                .problems
                .push(format!("the earlier run did not see everything: {gap}"));
        }
        results.problems.extend(earlier.lack().map(str::to_owned));
        earlier.compare(results.rows(), &results.scope)
    });
    let report = ExposuresReport {
        results: &results,
        time: Timestamp::now(),
        since,
    };
    match args.output {
        TextFormat::Text => print(&report::table(&report, args.detail.view()))?,
        TextFormat::Json => print_json(&report::json(&report))?,
    }
    let is_complete = results.gaps().is_empty() && results.counts().unjudged == 0;
    Ok(ExitCode::from(if is_complete { 0 } else { 2 }))
}

fn earlier(file: &Path) -> Result<Earlier> {
    let name = || format!("--since {}", file.display());
    let mut bytes = vec![];
    File::open(file)
        .and_then(|opened| opened.take(MAX_EARLIER + 1).read_to_end(&mut bytes))
        .with_context(name)?;
    ensure!(
        bytes.len() as u64 <= MAX_EARLIER,
        "{}: larger than {} MiB, which no run of `sallyport exposures` is",
        name(),
        MAX_EARLIER >> 20
    );
    Earlier::read(&bytes).with_context(name)
}
