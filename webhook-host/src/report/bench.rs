//! The report of `sallyport bench`: a table for people.

use crate::bench::{Cost, Evaluation, Figure, Growth, Noise};
use sallyport_core::report::{Detail, View};
use std::fmt::Write as _;

/// A deviation between passes from which a figure says how large it is.
const SHOWN_DEVIATION: f64 = 0.05;

/// Returns one table; in detail with percentiles, else with a note where figures may be off.
pub fn text(cost: &Cost, view: View) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{} {}", cost.policy, cost.version);
    row(
        &mut text,
        "size",
        &format!("{} bytes ({:.1} KiB)", cost.size, kibibytes(cost.size)),
    );
    let load = millis(&cost.load);
    row(
        &mut text,
        "load",
        &format!("{load} without a cache: compile, configure, snapshot"),
    );
    if let Some(reason) = &cost.configured_per_instance {
        row(
            &mut text,
            "configured",
            &format!("for every review, which costs time: {reason}"),
        );
    }
    if let Some(touched) = &cost.touched {
        let kib = touched.bytes >> 10;
        row(
            &mut text,
            "memory touched",
            &format!("{kib} KiB ({} pages)", touched.pages),
        );
    }
    for function in ["validate", "mutate"] {
        let of = |evaluation: &&Evaluation| evaluation.function == function;
        let evaluations: Vec<_> = cost.evaluations.iter().filter(of).collect();
        evaluation_table(&mut text, function, &evaluations, view.detail);
    }
    growth_table(&mut text, &cost.growth);
    if view.detail != Detail::Quiet {
        notes(&mut text, &cost.noise, view);
    }
    text
}

fn row(text: &mut String, name: &str, value: &str) {
    let _ = writeln!(text, "  {name:<16}{value}");
}

fn evaluation_table(
    text: &mut String,
    function: &str,
    evaluations: &[&Evaluation],
    detail: Detail,
) {
    if evaluations.is_empty() {
        return;
    }
    let head = format!("{function}, us");
    let _ = writeln!(
        text,
        "\n  {head:<26}{:>16}{:>16}   verdict",
        "fresh", "live"
    );
    for evaluation in evaluations {
        let (fresh, live) = (micros(&evaluation.fresh), micros(&evaluation.live));
        let (service, verdict) = (&evaluation.service, evaluation.verdict);
        let _ = writeln!(text, "  {service:<26}{fresh:>16}{live:>16}   {verdict}");
        if detail == Detail::Verbose {
            let (fresh, live) = (spread(&evaluation.fresh), spread(&evaluation.live));
            let _ = writeln!(text, "  {:<26}{fresh:>16}{live:>16}", "  10 % to 90 %");
        }
    }
}

fn growth_table(text: &mut String, growth: &[Growth]) {
    let Some(first) = growth.first() else {
        return;
    };
    let _ = write!(text, "\n  {:<16}", "growth, us");
    for point in &first.points {
        let _ = write!(text, "{:>14}", point.count);
    }
    text.push('\n');
    for Growth { of, points } in growth {
        let _ = write!(text, "  {of:<16}");
        for point in points {
            let shown = match (&point.fresh, &point.error) {
                (Some(figure), _) => micros(figure),
                (None, error) => error.clone().unwrap_or_default(),
            };
            let _ = write!(text, "{shown:>14}");
        }
        text.push('\n');
    }
}

fn notes(text: &mut String, noise: &Noise, view: View) {
    if noise.is_noisy() {
        let _ = writeln!(
            text,
            "\n{}: this machine is noisy: passes of {:.0} % of the figures lie far apart, and a \
             computation that never changes took {:.0} % longer in one run of ten. Close other \
             programs, or give each figure more time with --time",
            view.odd("warning"),
            noise.unsteady * 100.0,
            noise.tail * 100.0,
        );
    }
    if cfg!(debug_assertions) {
        let _ = writeln!(
            text,
            "\n{}: this sallyport was built without optimisation, so that the host's part of each \
             figure is too large; measure with a release build",
            view.odd("warning")
        );
    }
}

/// Formats microseconds, with the deviation of the passes where it matters: `18.2 ±7%`.
fn micros(figure: &Figure) -> String {
    let deviation = figure.deviation();
    let shown = number(figure.microseconds);
    if deviation < SHOWN_DEVIATION {
        return shown;
    }
    format!("{shown} ±{:.0}%", deviation * 100.0)
}

fn spread(figure: &Figure) -> String {
    let [low, high] = figure.percentiles.map(number);
    format!("{low}-{high}")
}

/// Formats a number with three significant digits.
fn number(micros: f64) -> String {
    if micros < 100.0 {
        format!("{micros:.1}")
    } else {
        format!("{micros:.0}")
    }
}

fn millis(figure: &Figure) -> String {
    format!("{:.0} ms", figure.microseconds / 1000.0)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "for people; components are far smaller than 2^52 bytes"
)]
fn kibibytes(size: usize) -> f64 {
    size as f64 / 1024.0
}
