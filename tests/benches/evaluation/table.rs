//! Prints criterion's measurements side by side.

use crate::USES;
use crate::examples::{FOUR, names, root};
use anyhow::{Context as _, Result};
use serde_json::Value;
use std::path::PathBuf;

/// Returns the directory of criterion's measurements.
pub(crate) fn directory() -> PathBuf {
    root().join("target/criterion")
}

/// Prints the tables of the latest measurements.
///
/// # Errors
///
/// When a figure was never measured, as after a run with a filter.
pub(crate) fn print() -> Result<()> {
    let bare = micros("one", "without")?;
    println!("\nreview without policies (parse, answer): {bare:.1} us\n");
    println!(
        "{:<28}{:>14}{:>14}{:>12}{:>14}",
        "policy", "fresh, us", "reused, us", "native, us", "fresh/reused"
    );
    for name in names()? {
        let Ok(fresh) = micros("one", &format!("fresh {name}")) else {
            continue;
        };
        let fresh = fresh - bare;
        if !FOUR.contains(&name.as_str()) {
            println!("{name:<28}{fresh:>14.1}");
            continue;
        }
        let reused = micros("one", &format!("reused {name}"))? / USES as f64;
        let native = micros("one", &format!("native {name}"))?;
        println!(
            "{name:<28}{fresh:>14.1}{reused:>14.1}{native:>12.3}{:>14.1}",
            fresh / reused
        );
    }
    println!(
        "\n{:<28}{:>14}{:>14}",
        "so many asked", "together, us", "each, us"
    );
    for count in [1, 4, 10, 50] {
        let cost = micros("several", &format!("asked {count}"))? - bare;
        println!("{count:<28}{cost:>14.1}{:>14.1}", cost / f64::from(count));
    }
    println!(
        "\n{:<28}{:>14}{:>14}",
        "shipped policies, on a", "NodePort, us", "ClusterIP, us"
    );
    for set in ["four", "all"] {
        let cost = |kind| {
            Ok::<_, anyhow::Error>(micros("several", &format!("shipped {set} {kind}"))? - bare)
        };
        println!(
            "{set:<28}{:>14.1}{:>14.1}",
            cost("NodePort")?,
            cost("ClusterIP")?
        );
    }
    println!(
        "\n{:<32}{:>14}{:>14}",
        "all policies, on", "without, us", "policies, us"
    );
    for name in sizes() {
        let without = micros("growth", &format!("without {name}"))?;
        println!(
            "{name:<32}{without:>14.1}{:>14.1}",
            micros("growth", &format!("with {name}"))? - without
        );
    }
    Ok(())
}

fn sizes() -> impl Iterator<Item = String> {
    let within = [1, 10, 100, 1_000, 5_000].map(|ports| format!("{ports} ports in range"));
    let outside = [10, 100, 1_000, 5_000].map(|ports| format!("{ports} ports out of range"));
    let annotations = [1, 4_096].map(|count| format!("256 KiB in {count} annotations"));
    within.into_iter().chain(outside).chain(annotations)
}

/// Returns the median in microseconds.
fn micros(group: &str, name: &str) -> Result<f64> {
    let file = directory().join(format!("{group}/{name}/new/estimates.json"));
    let text = std::fs::read(&file).with_context(|| format!("{group}/{name} was not measured"))?;
    let estimates: Value = serde_json::from_slice(&text)?;
    let nanos = estimates
        .pointer("/median/point_estimate")
        .and_then(Value::as_f64);
    Ok(nanos.with_context(|| file.display().to_string())? / 1000.0)
}
