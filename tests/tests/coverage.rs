//! Checks that every conformance case has a fixture, and that fixtures name only existing cases.

use std::collections::BTreeSet;
use std::path::Path;

/// The ids of the conformance cases, all ten groups.
const IDS: &str = "A1 A3 A4 A6 A7 A9 A10 A12 A13 A15 A16 \
    B1 B3 B4 B5 B6 B7 B9 B10 B12 B13 B14 B15 B16 B17 B18 B19 B21 B22 B24 B25 B27 B28 B30 B31 B33 \
    B34 B36 B37 \
    C1 C3 C4 C6 C7 C9 C10 C12 C13 \
    D1 D2 D3 D4 D6 D7 D9 D10 D12 D13 D15 D16 \
    E1 E3 E4 E6 E7 E8 E9 E10 E12 E13 E15 E16 E18 E19 E21 E22 \
    F1 F3 F4 F6 F7 F9 F10 F12 F13 F14 F15 F16 F18 F19 F21 F22 F24 F25 \
    G1 G3 G4 G6 G7 G9 G10 G12 G13 G15 G16 G18 G19 G21 G22 G24 G25 G27 G28 G30 G31 G33 G34 \
    H1 H3 H4 H6 H7 H9 H10 H12 H13 H15 H16 H18 H19 H21 H22 H24 H25 H27 H28 H30 H31 H33 H34 \
    I1 I3 I4 I6 I7 I9 I10 I12 I13 I15 I16 I18 I19 I21 \
    J1 J3 J4 J6 J7 J9 J10 J12 J13 J15 J16 J18 J19 J21 J22 J24 J25 J27 J28 J30 J31 J33 J34";

#[test]
fn every_conformance_case_has_a_fixture() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut found = BTreeSet::new();
    for folder in std::fs::read_dir(&fixtures)
        .expect("tests/fixtures")
        .map(|entry| entry.expect("an entry").path())
    {
        for file in std::fs::read_dir(&folder)
            .expect("a folder a policy")
            .map(|entry| entry.expect("an entry").path())
        {
            if file.extension().is_some_and(|end| end == "yaml") {
                found.extend(ids(&std::fs::read_to_string(&file).expect("a suite")));
            }
        }
    }
    let missing: Vec<&str> = IDS
        .split_whitespace()
        .filter(|id| !found.contains(*id))
        .collect();
    assert!(missing.is_empty(), "no fixture for {}", missing.join(", "));
    let known: BTreeSet<&str> = IDS.split_whitespace().collect();
    let unknown: Vec<_> = found
        .iter()
        .filter(|id| is_id(id) && !known.contains(id.as_str()))
        .collect();
    assert!(
        unknown.is_empty(),
        "fixtures claim cases that are none: {unknown:?}"
    );
}

/// Returns the ids of a suite, such as `B17` of `- name: "B17: …"`.
fn ids(suite: &str) -> Vec<String> {
    let names = suite
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- name: \""));
    names
        .filter_map(|name| name.split_once(':').map(|(id, _)| id.to_owned()))
        .collect()
}

/// Returns true for a group's letter and a number. Suites about other subjects name their cases
/// differently.
fn is_id(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_uppercase())
        && !chars.as_str().is_empty()
        && chars.all(|c| c.is_ascii_digit())
}
