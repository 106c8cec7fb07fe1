//! `docs/tutorial.md` without its last part: its commands print what the page shows.

use crate::host::root;
use sallyport_tests::walkthrough::Reader;
use sallyport_tests::{tutorial, walkthrough};

#[test]
#[cfg_attr(
    not(wasm_target),
    ignore = "no standard library for wasm32; see `make setup`"
)]
fn the_commands_of_the_tutorial_print_what_it_shows() {
    let page = std::fs::read_to_string(root().join("docs/tutorial.md")).expect("it is there");
    let (offline, _) = page.split_once("\n## A cluster\n").expect("the last part");
    let steps = walkthrough::steps(offline);
    assert!(steps.len() > 15, "{} commands", steps.len());
    let directory = tempfile::tempdir().expect("a directory");
    tutorial::run(&mut Reader::new(directory.path()), "tutorial", &steps);
}
