//! Tables of other ways by which a Service is exposed: exports, annotations for other components,
//! names of ports.

use super::cell;
use sallyport_facts::exports::EXPORTING_LABELS;
use sallyport_facts::forwarding::FORWARDING;
use sallyport_facts::port_names::{PART_PREFIXES, PROTOCOL_PREFIXES};
use sallyport_facts::reach::{ADDING, PARTS};
use sallyport_tests::widening::WAYS;
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
    page.push_str(
        "\n### What an update widens\n\nWith `updates: Ratchet`, an update keeps no violation that \
         it widens. A violation that names the port, the address or the annotation is another \
         one anyway once these change.\n\n\
         | the update adds | no violation is kept of |\n|---|---|\n",
    );
    for way in &WAYS {
        let _ = writeln!(page, "| {} | {} |", way.adds, way.rules.join(" "));
    }
    let _ = write!(
        page,
        "\nAn annotation bears on who reaches a load balancer if its name contains one of \
         {}. The first ranges in an annotation, and the removal of one whose name contains \
         {}, widen nothing; nor does what Google's controller writes down \
         (`service.kubernetes.io/firewall-rule…`).\n",
        words(&PARTS),
        words(&ADDING),
    );
}
