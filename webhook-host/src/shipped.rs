//! The shipped policies on disk: beside an installed program, or where a clone builds them.
//!
//! The installed ones come first, so that a directory in somebody's repository can't replace them.

use std::path::{Path, PathBuf};

/// Their places relative to the directory of the program: as an archive has them, and below a
/// prefix such as /usr/local.
const INSTALLED: [&str; 2] = ["policies", "../share/sallyport/policies"];

/// The directory into which a build of Sallyport puts its policies.
const BUILT: &str = "target/policies";

/// Returns the directory of the shipped policies and their manifests, if there is one.
#[must_use]
pub fn policies() -> Option<PathBuf> {
    places().into_iter().find(|place| place.is_dir())
}

/// Lists the places where [`policies`] looks, in this order.
#[must_use]
pub fn places() -> Vec<PathBuf> {
    // A link to the program, such as a plugin's, leads to the others of its archive.
    let program = std::env::current_exe().and_then(std::fs::canonicalize);
    let directory = program
        .ok()
        .and_then(|program| Some(program.parent()?.to_owned()));
    let mut places: Vec<_> = directory
        .iter()
        .flat_map(|directory| INSTALLED.map(|place| beside(directory, place)))
        .collect();
    places.push(BUILT.into());
    places
}

/// Joins without leaving `..` in a path that users see.
fn beside(directory: &Path, place: &str) -> PathBuf {
    match (place.strip_prefix("../"), directory.parent()) {
        (Some(rest), Some(parent)) => parent.join(rest),
        _ => directory.join(place),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_and_a_prefix_are_searched_before_a_clone() {
        let shown = |place| beside(Path::new("/usr/local/bin"), place);
        assert_eq!(
            INSTALLED.map(shown),
            [
                "/usr/local/bin/policies",
                "/usr/local/share/sallyport/policies"
            ]
            .map(PathBuf::from)
        );
        assert_eq!(places().last(), Some(&PathBuf::from(BUILT)));
    }
}
