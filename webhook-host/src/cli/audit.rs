//! `sallyport audit`: judges the Services that a cluster has.

use super::audited::{AuditedArgs, Judges, Wanted, runtime};
use super::output::{DetailArgs, error, note, print, print_json};
use crate::audit::Results;
use crate::cluster::Followed;
use crate::report::audit::{self as report, AuditReport};
use crate::report::html;
use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use sallyport_core::report::{Detail, counted};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Judge the Services that a cluster has: what would be denied if it were created today?
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(mut_arg("quiet", |quiet| quiet.help("Print denials and errors alone")))]
#[command(mut_arg("verbose", |verbose| verbose.help("Print notes and exemptions of each Service, \
    too, and how long it took")))]
pub(super) struct AuditArgs {
    /// Directory of other ServicePolicy manifests: print what they would change. Their modules are
    /// in --modules
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
    /// Print the table, and then each change of a finding until the command is ended
    #[arg(long, conflicts_with_all = ["files", "against", "output"])]
    watch: bool,
    /// Warnings fail: exit code 1.
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    detail: DetailArgs,
    /// Format of the report. html has the exposure map, too
    #[arg(long, short, value_enum, default_value_t = AuditFormat::Table)]
    output: AuditFormat,
    #[command(flatten)]
    audited: AuditedArgs,
}

/// Formats of an audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum AuditFormat {
    #[value(aliases = ["text", "human"])]
    Table,
    Json,
    Sarif,
    Html,
    Openreports,
}

const EXAMPLES: &str = "\
Each Service is judged as it stands, as if somebody without any exemption created it: DENY is \
    what a cluster would refuse today. `kept on update` marks what the ratchet lets an update \
    keep, and `patched on create` what /mutate would fix on its way. managedFields tell which node \
    ports a client chose and which the API server allocated. Nothing is written.

Namespaces that the user may not read, and anything else that is missing, are printed as NOT \
    SEEN, and the exit code is 2.

Examples:
  sallyport audit --policies-from-cluster                    # by what this cluster enforces
  sallyport audit --policies policies/ -n shop -l team=web   # before it is enforced
  sallyport audit --policies policies/ --against next/       # what would next/ change?
  sallyport audit --policies policies/ --output html > audit.html
  sallyport audit --as system:serviceaccount:cd:deployer     # with that user's exemptions
  kubectl get services,namespaces -A -o json --show-managed-fields | sallyport audit -

Exit code: 0 clean, 1 violations (with --strict also warnings; with --against new denials), 2 \
    something could not be judged or read.";

/// Runs the subcommand.
///
/// # Errors
///
/// When policies can't be loaded or the cluster can't be read.
pub(super) fn run(args: &AuditArgs) -> Result<ExitCode> {
    let start = Instant::now();
    let wanted = Wanted {
        doors: args.output == AuditFormat::Html,
        against: args.against.as_deref(),
        notes: !args.detail.is_quiet(),
    };
    if wanted.against.is_some()
        && matches!(args.output, AuditFormat::Html | AuditFormat::Openreports)
    {
        bail!("--against prints changes: use --output table, json or sarif");
    }
    let judges = args.audited.judges(wanted)?;
    let loaded = start.elapsed();
    if args.watch {
        return watch(args, &judges);
    }
    let mut results = judges.results(args.strict);
    let judged = args.audited.read(&judges, &mut results)?;
    if args.audited.reads_files() && results.services() == 0 {
        bail!("no Service could be read: {}", results.gaps().join("; "));
    }
    if args.detail.view().detail == Detail::Verbose {
        let read = start.elapsed() - loaded - judged;
        note(format_args!(
            "policies and inventory: {loaded:.1?}, list: {read:.1?}, judging {}: {judged:.1?}",
            counted(results.services(), "Service")
        ));
    }
    let now = Timestamp::now();
    let report = AuditReport {
        results: &results,
        time: now.to_string(),
        compares: args.against.is_some(),
    };
    match args.output {
        AuditFormat::Table => print(&report::table(&report, args.detail.view()))?,
        AuditFormat::Json => print_json(&report::json(&report))?,
        AuditFormat::Sarif => print(&report::sarif(&report))?,
        AuditFormat::Html => print(&html::page(&report, now))?,
        AuditFormat::Openreports => print_json(&report::open_reports(&results))?,
    }
    Ok(ExitCode::from(results.exit_code()))
}

/// Prints the table once the list is complete, and then each change, until the process is ended.
fn watch(args: &AuditArgs, judges: &Judges) -> Result<ExitCode> {
    let mut watch = Watch {
        args,
        judges,
        results: judges.results(args.strict),
        printed: BTreeMap::new(),
        is_listing: true,
        is_first: true,
        lost: None,
    };
    let namespace = args.audited.followed()?;
    let mut ended = Ok(());
    runtime()?.block_on(async {
        let services = args.audited.services().await?;
        let mut take = |followed| match watch.take(followed) {
            Ok(()) => ControlFlow::Continue(()),
            Err(problem) => {
                ended = Err(problem);
                ControlFlow::Break(())
            }
        };
        services.follow(namespace, &mut take).await;
        anyhow::Ok(())
    })?;
    ended?;
    Ok(ExitCode::SUCCESS)
}

/// The state of `--watch`.
struct Watch<'a> {
    args: &'a AuditArgs,
    judges: &'a Judges,
    results: Results,
    /// The lines that stand for each Service.
    printed: BTreeMap<String, BTreeSet<String>>,
    /// True while a list replaces everything.
    is_listing: bool,
    is_first: bool,
    /// The trouble that was told last.
    lost: Option<String>,
}

impl Watch<'_> {
    fn take(&mut self, followed: Followed) -> Result<()> {
        match followed {
            Followed::Begun => {
                self.results = self.judges.results(self.args.strict);
                self.is_listing = true;
                Ok(())
            }
            Followed::Complete => self.complete(),
            Followed::Written(object) => {
                let service = self.results.add(&self.judges.audit(), &object);
                match service.filter(|_| !self.is_listing) {
                    Some(service) => self.print_changes(&service),
                    None => Ok(()),
                }
            }
            Followed::Deleted(service) => {
                self.results.remove(&service);
                self.print_changes(&service)
            }
            Followed::Lost(problem) if !self.is_first => {
                if self.lost.as_ref() != Some(&problem) {
                    error(format_args!("{problem}; trying again"));
                    self.lost = Some(problem);
                }
                Ok(())
            }
            Followed::Lost(problem) => bail!(problem),
        }
    }

    fn complete(&mut self) -> Result<()> {
        (self.is_listing, self.lost) = (false, None);
        if !std::mem::take(&mut self.is_first) {
            let known = self
                .printed
                .keys()
                .chain(self.results.rows().map(|row| &row.service));
            let services: BTreeSet<_> = known.cloned().collect();
            return services
                .iter()
                .try_for_each(|service| self.print_changes(service));
        }
        let report = AuditReport {
            results: &self.results,
            time: Timestamp::now().to_string(),
            compares: false,
        };
        for row in self.results.rows() {
            self.printed.insert(row.service.clone(), report::lines(row));
        }
        print(&report::table(&report, self.args.detail.view()))
    }

    /// Prints the lines of a Service that are new, and those that are gone.
    fn print_changes(&mut self, service: &str) -> Result<()> {
        let now = self
            .results
            .row(service)
            .map_or_else(BTreeSet::new, report::lines);
        let before = self.printed.remove(service).unwrap_or_default();
        let time = Timestamp::now().strftime("%H:%M:%S");
        let mut text = String::new();
        for (sign, line) in before
            .difference(&now)
            .map(|line| ('-', line))
            .chain(now.difference(&before).map(|line| ('+', line)))
        {
            let _ = writeln!(text, "{time} {sign} {line}");
        }
        if !now.is_empty() {
            self.printed.insert(service.to_owned(), now);
        }
        print(&text)
    }
}
