//! The places of a suite's cases and their expectations in the text, for reports and for bless.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_saphyr::Spanned;

/// A case's place. Lines and columns count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The line of the case's first key, and the column of its keys.
    pub(super) line: usize,
    pub(super) column: usize,
    /// The line on which the value of `expect` begins, if there is one.
    pub(super) expect: Option<usize>,
}

#[derive(Deserialize)]
struct File {
    spec: Spec,
}

#[derive(Deserialize)]
struct Spec {
    cases: Vec<Spanned<CasePlace>>,
}

#[derive(Deserialize)]
struct CasePlace {
    expect: Option<Spanned<IgnoredAny>>,
}

/// The places of all cases. Empty when the text is no suite; whoever decodes it says why.
pub(super) fn places(text: &str) -> Vec<Place> {
    let options = serde_saphyr::options! { with_snippet: false };
    let Ok(file) = serde_saphyr::from_str_with_options::<File>(text, options) else {
        return vec![];
    };
    let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let place = |case: Spanned<CasePlace>| Place {
        line: number(case.referenced.line()),
        column: number(case.referenced.column()),
        expect: case
            .value
            .expect
            .map(|expect| number(expect.referenced.line())),
    };
    file.spec.cases.into_iter().map(place).collect()
}
