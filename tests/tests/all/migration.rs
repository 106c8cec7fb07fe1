//! `docs/migration/vap.md`: its commands print what the page shows.

use crate::host::root;
use sallyport_tests::walkthrough::{self, Reader};

#[test]
fn the_commands_of_the_page_about_vap_print_what_it_shows() {
    let page = std::fs::read_to_string(root().join("docs/migration/vap.md")).expect("it is there");
    let steps = walkthrough::steps(&page);
    assert!(steps.len() > 6, "{} commands", steps.len());
    let directory = tempfile::tempdir().expect("a directory");
    let mut reader = Reader::new(directory.path());
    let modules = std::path::absolute(root().join("target/policies")).expect("a path");
    reader.set("SALLYPORT_MODULES", &modules);
    for step in &steps {
        reader.run(step);
    }
}
