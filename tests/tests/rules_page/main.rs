//! Generates `docs/rules.md`, the reference of every rule, and checks that it is current. `make
//! docs` writes it.
//!
//! Nothing in it is written twice by hand: a policy's purpose and settings come from its component,
//! messages and covered cases from running every fixture, tables of facts from the SDK, presets
//! from their manifests.

mod elsewhere;
mod facts;
mod fixtures;
mod policies;
mod presets;

use std::path::{Path, PathBuf};

const INTRODUCTION: &str = "\
# Rules

<!-- Made by `make docs` from the components, the fixtures, the presets and the tables of \
    facts. Don't edit. -->

This page lists every rule of the shipped policies, with its settings and messages. A denial \
    names the policy, the field, the value
found, what is allowed, and the fix:

```text
[nodeport-range] spec.ports[1].nodePort: 29999 is outside 30000-32767; remove the field or use \
    30000-30085 (static band: the API server allocates other ports first)
```

Rules that begin with S judge a Service, those with M patch it before it is judged. The host \
    itself applies S16. One response lists all
violations, sorted by field, the first ten in full; `status.details.causes` has them for \
    programs. Ids such as B17 are cases of the
conformance suite under `tests/fixtures`.

";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ has a parent")
        .to_owned()
}

#[test]
fn the_reference_of_rules_is_current() {
    let fixtures = fixtures::run();
    let mut page = INTRODUCTION.to_owned();
    policies::write(&mut page, &fixtures);
    presets::write(&mut page);
    facts::write(&mut page);
    elsewhere::write(&mut page);
    let file = root().join("docs/rules.md");
    if std::env::var_os("WRITE_DOCS").is_some() {
        std::fs::write(&file, &page).expect("docs/rules.md can be written");
        return;
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    let differs = written
        .lines()
        .zip(page.lines())
        .position(|(written, made)| written != made);
    assert!(
        written == page,
        "docs/rules.md is not current (line {}); run `make docs` and look at the difference",
        differs.unwrap_or_else(|| written.lines().count().min(page.lines().count())) + 1
    );
}

/// Formats a table cell: one line with escaped bars.
fn cell(text: &str) -> String {
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|")
}
