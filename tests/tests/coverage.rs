//! Every conformance case that concerns the shipped policies or the host has a fixture.

use std::collections::BTreeSet;
use std::path::Path;

/// The cases of groups A, B, C, E, G and J, but those of other policies: J22 is M3's (its patch creates a parent map; the
/// SDK's own tests prove that for every patch).
const IDS: &str = "A1 A3 A4 A6 A7 A9 A10 A12 A13 A15 A16 \
    B1 B3 B4 B5 B6 B7 B9 B10 B12 B13 B14 B15 B16 B17 B18 B19 B21 B22 B24 B25 B27 B28 B30 B31 B33 B34 B36 B37 \
    C1 C3 C4 C6 C7 C9 C10 C12 C13 \
    E1 E3 E4 E6 E7 E8 E9 E10 E12 E13 E15 E16 E18 E19 E21 E22 \
    G1 G3 G4 G6 G7 G9 G10 G12 G13 G15 G16 G18 G19 G21 G22 G24 G25 G27 G28 G30 G31 G33 G34 \
    J1 J3 J4 J6 J7 J9 J10 J12 J13 J15 J16 J18 J19 J21 J24 J25 J27 J28 J30 J31 J33 J34";

#[test]
fn every_conformance_case_has_a_fixture() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut found = BTreeSet::new();
    for folder in std::fs::read_dir(&fixtures).expect("tests/fixtures").map(|entry| entry.expect("an entry").path()) {
        for file in std::fs::read_dir(&folder).expect("a folder a policy").map(|entry| entry.expect("an entry").path())
        {
            if file.extension().is_some_and(|end| end == "yaml") {
                found.extend(ids(&std::fs::read_to_string(&file).expect("a suite")));
            }
        }
    }
    let missing: Vec<&str> = IDS.split_whitespace().filter(|id| !found.contains(*id)).collect();
    assert!(missing.is_empty(), "no fixture for {}", missing.join(", "));
}

/// `B17` of `- name: "B17: …"`.
fn ids(suite: &str) -> Vec<String> {
    let names = suite.lines().filter_map(|line| line.trim().strip_prefix("- name: \""));
    names.filter_map(|name| name.split_once(':').map(|(id, _)| id.to_owned())).collect()
}
