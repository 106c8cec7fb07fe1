//! `sallyport replay`: evaluates recorded reviews with other policies.

use super::cache::CacheArgs;
use super::inputs::PolicyArgs;
use super::output::{DetailArgs, Progress, TextFormat, print};
use super::registry::RegistryArgs;
use crate::record::Record;
use crate::replay::{Difference, Lines, Replayer};
use crate::report;
use crate::report::replay::{ReplayReport, Replayed};
use crate::sources::load;
use anyhow::{Context as _, Result, bail};
use clap::Args;
use sallyport_core::manifest::Exemptions;
use sallyport_core::policy::Policy;
use sallyport_core::report::{Detail, counted, counted_as};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// Ask recorded reviews again: what would other policies, or other settings, have answered?
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(mut_arg("policies", |policies| policies.required(true).help("Directory of the \
    ServicePolicy manifests to try")))]
#[command(mut_arg("quiet", |quiet| quiet.help("Print the differences alone, without examples and \
    totals")))]
#[command(mut_arg("verbose", |verbose| verbose.help("Print each review that stays the same, \
    too")))]
#[command(mut_arg("config", |config| config.help("HostConfig of the host that recorded, for its \
    exemptions. What policies may know comes from the record")))]
pub(super) struct ReplayArgs {
    /// Files that `serve --record` wrote, rotated ones too, or - for standard input.
    #[arg(required = true, value_name = "LOG|-")]
    logs: Vec<PathBuf>,
    #[command(flatten)]
    policies: PolicyArgs,
    /// Try the candidates (spec.candidate) of these policies in place of the live ones.
    #[arg(long)]
    candidates: bool,
    /// Compare with what these policies say now, instead of with what was answered then.
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
    /// Examples for each kind of difference.
    #[arg(long, value_name = "N", default_value_t = 3,
        value_parser = clap::value_parser!(u16).range(..=1000))]
    examples: u16,
    #[command(flatten)]
    detail: DetailArgs,
    /// Format of the report.
    #[arg(long, short, value_enum, default_value_t = TextFormat::Text)]
    output: TextFormat,
    #[command(flatten)]
    registry: RegistryArgs,
    #[command(flatten)]
    cache: CacheArgs,
}

const EXAMPLES: &str = "\
Each review is asked as it was: with its time, and with what the inventory knew. Logs are read \
    line by line, so they may be of any size. Lines that can't be read are named and counted.

Examples:
  sallyport serve --policies policies --self-signed --record reviews.log
  sallyport replay reviews.log --policies next/                  # what would next/ have answered?
  sallyport replay reviews.log --policies policies/ --candidates
  sallyport replay reviews.log.* reviews.log --policies next/ --against policies/
  zcat reviews.log.*.gz | sallyport replay - --policies next/ --output json

The log holds hashes of free-form texts, except of those that the policies of that time compared.
A policy that compares a hashed text gets no verdict: \"cannot be repeated\".

Exit code: 0 no differences, 1 some, or some reviews can't be repeated, 2 nothing was replayed.";

/// Runs the subcommand.
///
/// # Errors
///
/// When policies, configuration or a log can't be read, or no line of the logs holds a review.
pub(super) fn run(args: &ReplayArgs) -> Result<ExitCode> {
    let config = load::host_config(args.policies.config())?;
    let session = args.registry.session(&args.cache, &config)?;
    let exemptions = config.exemptions;
    let engine = args.cache.engine()?;
    let files = args.policies.files()?;
    let next = match args.candidates {
        true => load::promoted(&files.loader(&engine, &session), &files.manifests)?,
        false => load::policies(&files.loader(&engine, &session), &files.manifests, &[])?,
    };
    let against = args
        .against
        .as_deref()
        .map(|directory| {
            let files = args.policies.files_in(directory);
            load::policies(&files.loader(&engine, &session), &files.manifests, &[])
        })
        .transpose()?;
    let replayer = |policies| replayer(policies, &exemptions);
    let replay = Replay {
        next: replayer(next)?,
        against: against.map(replayer).transpose()?,
        shows_same: args.shows_same(),
    };
    let mut progress = Progress::new();
    let mut report = ReplayReport::new(args.examples.into());
    for log in &args.logs {
        let name = log.display().to_string();
        let reader = open(log).with_context(|| format!("can't read {name}"))?;
        replay
            .read(&name, reader, &mut report, &mut progress)
            .with_context(|| format!("can't read {name}"))?;
    }
    drop(progress);
    if report.is_empty() {
        bail!(
            "no recorded review in {}{}",
            counted(args.logs.len(), "file"),
            first(report.unread())
        );
    }
    print(&render(args, &report))?;
    Ok(ExitCode::from(report.exit_code()))
}

fn first(unread: &[String]) -> String {
    unread
        .first()
        .map(|first| format!("; {first}"))
        .unwrap_or_default()
}

fn open(log: &Path) -> std::io::Result<Box<dyn BufRead>> {
    Ok(match log.to_str() {
        Some("-") => Box::new(std::io::stdin().lock()),
        _ => Box::new(BufReader::new(File::open(log)?)),
    })
}

fn replayer(policies: Vec<Arc<Policy>>, exemptions: &Exemptions) -> Result<Replayer> {
    let broken: Vec<_> = policies
        .iter()
        .filter_map(|policy| policy.load_error())
        .map(ToString::to_string)
        .collect();
    if !broken.is_empty() {
        bail!(
            "{} can't be loaded, so that every review would differ: {}",
            counted_as(broken.len(), "policy", "policies"),
            broken.join("; ")
        );
    }
    Ok(Replayer::new(policies, exemptions.clone()))
}

fn render(args: &ReplayArgs, report: &ReplayReport) -> String {
    match args.output {
        TextFormat::Text => report::replay::text(report, args.detail.view().detail),
        TextFormat::Json => report::replay::json(report),
    }
}

/// The sides of the comparison.
struct Replay {
    next: Replayer,
    /// `None`: what was answered then.
    against: Option<Replayer>,
    shows_same: bool,
}

impl ReplayArgs {
    fn shows_same(&self) -> bool {
        let is_text = matches!(self.output, TextFormat::Text);
        is_text && self.detail.view().detail == Detail::Verbose
    }
}

impl Replay {
    fn read(
        &self,
        name: &str,
        reader: impl BufRead,
        report: &mut ReplayReport,
        progress: &mut Progress,
    ) -> Result<()> {
        for line in Lines::new(reader) {
            let line = line?;
            let place = format!("{name}:{}", line.number);
            let compared = line.record.and_then(|record| {
                let differences = self.compare(&record)?;
                Ok((record, differences))
            });
            match compared {
                Ok((record, differences)) => {
                    let replayed = Replayed {
                        time: record.time,
                        review: &record.review,
                    };
                    if self.shows_same && differences.is_empty() {
                        progress.clear();
                        print(&report::replay::same(replayed))?;
                    }
                    report.add(replayed, differences);
                    progress.show_count(report.reviews(), "reviews");
                }
                Err(problem) => report.pass_over(&place, &problem),
            }
        }
        Ok(())
    }

    fn compare(&self, record: &Record) -> Result<Vec<Difference>, String> {
        let verdict =
            |replayer: &Replayer| replayer.verdict(record).map_err(|error| error.to_string());
        let before = self
            .against
            .as_ref()
            .map_or_else(|| Ok(record.verdict()), verdict)?;
        Ok(before.differences(&verdict(&self.next)?))
    }
}
