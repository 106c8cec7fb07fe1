//! Tables of other ways by which a Service is exposed: exports, annotations for other components,
//! names of ports.

use super::cell;
use sallyport_facts::exports::EXPORTING_LABELS;
use sallyport_facts::forwarding::FORWARDING;
use sallyport_facts::port_names::{PART_PREFIXES, PROTOCOL_PREFIXES};
use sallyport_facts::reach::PARTS;
use std::fmt::Write as _;

pub(super) fn write(page: &mut String) {
    let words = |words: &[&str]| {
        words
            .iter()
            .map(|word| format!("`{word}`"))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let _ = write!(
        page,
        "\nPrefixes of port names that are skipped: transports and protocols {}; parts of a \
         backend {}.\n\n",
        words(&PROTOCOL_PREFIXES),
        words(&PART_PREFIXES),
    );
    page.push_str(
        "### Labels that export\n\n| label | values | what it does, and source |\n|---|---|---|\n",
    );
    for row in &EXPORTING_LABELS {
        let _ = writeln!(
            page,
            "| `{}` | {} | {} |",
            row.key,
            words(row.values),
            cell(row.source)
        );
    }
    page.push_str(
        "\n### Annotations that lead elsewhere\n\n| annotation | what it does, and \
        source |\n|---|---|\n",
    );
    for row in &FORWARDING {
        let _ = writeln!(page, "| `{}` | {} |", row.key, cell(row.source));
    }
    let _ = write!(
        page,
        "\n### What an update widens\n\nAn update keeps no violation that it widens. These \
         widen: another port, target port, selector, node port, external IP, class or address; \
         wider source ranges; a type that exposes more; a load balancer that is less certainly \
         internal; another value of an annotation whose name contains one of {}.\n",
        words(&PARTS),
    );
}
