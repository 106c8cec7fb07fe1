//! The tables of facts by which the policies decide, with their sources.

use super::cell;
use sallyport_facts::addresses::{Checked, NAMES};
use sallyport_facts::internal::{CONTROLLERS, Controller, Default, Enforces, Switch, When};
use sallyport_facts::kinds::PRODUCTS;
use sallyport_facts::nodes::{INFRASTRUCTURE, Serves};
use sallyport_facts::pools::CHOOSES;
use sallyport_facts::questions::{Answers, QUESTIONS};
use sallyport_facts::reads::Reads;
use sallyport_facts::sharing::{SHARES, With};
use sallyport_facts::voids::{Cause, VOIDS, Void, Voided};
use sallyport_facts::{backends, classes, exposing, metadata_services};
use std::fmt::Write as _;

pub(super) fn write(page: &mut String) {
    page.push_str(
        "## Facts\n\nThe tables by which the shipped policies decide; `sallyport_facts` \
         has them for your own.\n\n",
    );
    questions(page);
    switches(page);
    voids(page);
    addresses(page);
    names(page);
    sharing(page);
    products(page);
    all_classes(page);
    nodes(page);
    exposing_annotations(page);
    metadata(page);
    known_backends(page);
}

fn switches(page: &mut String) {
    page.push_str(
        "### What makes a load balancer internal\n\nKeys are compared exactly, and values are \
         read as the controller's own parser does. The setting `providers` of \
         loadbalancer-exposure uses the names of the first column.\n\n\
         | controller | of | annotation | internal when | source |\n|---|---|---|---|---|\n",
    );
    for controller in &CONTROLLERS {
        for switch in controller.switches {
            row(page, controller, switch, "");
        }
        if let Some(variant) = &controller.variant {
            let when = match variant.when {
                When::Annotation(key, value) => format!(", with `{key}: {value}`"),
                When::Class(class) => format!(", class `{class}`"),
            };
            for switch in variant.switches {
                row(page, controller, switch, &when);
            }
        }
        if controller.switches.is_empty() {
            let _ = writeln!(
                page,
                "| `{}` | {} | none is known | never | its code has no annotation for it |",
                controller.name, controller.title
            );
        }
    }
    page.push_str("\nWithout any of them: ");
    for (i, (default, makes)) in [
        (Default::Public, "a public load balancer"),
        (
            Default::Unknown,
            "what a setting of the controller says, which counts as not internal",
        ),
        (Default::Internal, "an internal load balancer"),
    ]
    .into_iter()
    .enumerate()
    {
        let names: Vec<_> = CONTROLLERS
            .iter()
            .filter(|controller| controller.default == default)
            .collect();
        let names = names
            .iter()
            .map(|controller| format!("`{}`", controller.name))
            .collect::<Vec<_>>()
            .join(", ");
        let _ = write!(page, "{}{makes} ({names})", if i == 0 { "" } else { "; " });
    }
    page.push_str(
        ".\n\nWhere two of a controller's annotations contradict each other, the load balancer is \
         not internal, even if the controller reads only one of them. Some annotations count \
         only so",
    );
    let mut separator = ": ";
    for controller in &CONTROLLERS {
        let variant = controller.variant.iter();
        let of_variant = variant.flat_map(|variant| variant.contradicting);
        for switch in controller.contradicting.iter().chain(of_variant) {
            let _ = write!(
                page,
                "{separator}`{}` for `{}`",
                switch.key, controller.name
            );
            separator = ", ";
        }
    }
    page.push_str(".\n\n");
}

fn row(page: &mut String, controller: &Controller, switch: &Switch, when: &str) {
    let _ = writeln!(
        page,
        "| `{}` | {}{when} | `{}` | {} | {} |",
        controller.name,
        controller.title,
        switch.key,
        reads(switch.reads),
        cell(switch.source)
    );
}

/// Returns the values that have the effect.
fn reads(reads: Reads) -> String {
    let list = |values: &[&str]| {
        let quoted = values.iter().map(|value| {
            if value.is_empty() {
                "empty".to_owned()
            } else {
                format!("`{value}`")
            }
        });
        quoted.collect::<Vec<_>>().join(" or ")
    };
    match reads {
        Reads::Exactly(values) => format!("{}, exactly", list(values)),
        Reads::Either(yes, no) => format!(
            "{}, exactly; {} is public, all else is refused",
            list(yes),
            list(no)
        ),
        Reads::Folded(value) => format!("`{value}`, in any case"),
        Reads::ParseBool => {
            "`1`, `t`, `T`, `TRUE`, `true`, `True`; what is no Boolean is refused".to_owned()
        }
        Reads::Not([]) => "any value".to_owned(),
        Reads::Not(values) => format!("anything but {}", list(values)),
        Reads::Inner => "JSON with `\"type\":\"inner\"`, plainly written".to_owned(),
        Reads::Contains(part) => format!("holds `{part}`"),
    }
}

/// The columns of the table of questions.
const COLUMNS: [&str; 6] = [
    "adopts a load balancer?",
    "public second family?",
    "private link?",
    "addresses of the Service's choice?",
    "source ranges?",
    "leads elsewhere?",
];

/// Returns the cells of one controller: the annotations of the tables, then the remarks.
fn cells(answers: &Answers) -> [String; 6] {
    let voids = |counts: fn(&Void) -> bool| {
        VOIDS
            .iter()
            .filter(|row| row.by == answers.by && counts(row))
            .map(|row| row.key)
            .collect::<Vec<_>>()
    };
    let names = NAMES
        .iter()
        .filter(|row| row.by == answers.by)
        .map(|row| row.key)
        .collect::<Vec<_>>();
    [
        filled(
            &voids(|row| matches!(row.cause, Cause::Adopts | Cause::AdoptsOrOwns)),
            answers.adopts,
        ),
        filled(
            &voids(|row| row.cause == Cause::SecondFamily),
            answers.second_family,
        ),
        filled(
            &voids(|row| row.cause == Cause::PrivateLink),
            answers.private_link,
        ),
        filled(&names, answers.addresses),
        filled(
            &voids(|row| row.voids.includes(Voided::Ranges)),
            answers.ranges,
        ),
        answers.elsewhere.to_owned(),
    ]
}

fn filled(keys: &[&str], text: &str) -> String {
    let mut parts: Vec<_> = keys.iter().map(|key| format!("`{key}`")).collect();
    if !text.is_empty() {
        parts.push(text.to_owned());
    }
    parts.join("; ")
}

fn questions(page: &mut String) {
    let _ = write!(
        page,
        "### What each controller does\n\nEach annotation named here voids the internal switch \
         or the source ranges, or names an address. The tables below say how it is parsed, and \
         the source. \"Not documented\" means that neither code nor a document was found.\n\n\
         | controller | {} |\n|---|---|---|---|---|---|---|\n",
        COLUMNS.join(" | ")
    );
    for answers in &QUESTIONS {
        let cells = cells(answers).map(|text| cell(&text));
        let _ = writeln!(page, "| `{}` | {} |", answers.by, cells.join(" | "));
    }
    page.push('\n');
}

fn voids(page: &mut String) {
    page.push_str(
        "### What voids an internal switch or source ranges\n\nAn ID that a controller writes \
         itself counts only if the Service is created with it, or if it is changed.\n\n\
         | controller | annotation | counts when | voids | it | source \
         |\n|---|---|---|---|---|---|\n",
    );
    for row in &VOIDS {
        let voided = match row.voids {
            Voided::Internal => "the switch",
            Voided::Ranges => "source ranges",
            Voided::Both => "both",
        };
        let (values, does) = (cell(&reads(row.reads)), row.cause.text());
        let _ = writeln!(
            page,
            "| `{}` | `{}` | {values} | {voided} | {does} | {} |",
            row.by,
            row.key,
            cell(row.source)
        );
    }
    page.push('\n');
}

fn addresses(page: &mut String) {
    page.push_str(
        "### Annotations that name addresses\n\nAddresses that nothing checks are judged like \
         `spec.externalIPs` (S08), addresses that a pool or an account bounds like \
         `spec.loadBalancerIP` (S13, S17).\n\n\
         | controller | annotation | checked against | source |\n|---|---|---|---|\n",
    );
    for row in &NAMES {
        let checked = match row.checked {
            Checked::Nothing => "nothing",
            Checked::Pool => "a pool, or the cloud's account",
        };
        let _ = writeln!(
            page,
            "| `{}` | `{}` | {checked} | {} |",
            row.by,
            row.key,
            cell(row.source)
        );
    }
    page.push('\n');
}

fn names(page: &mut String) {
    page.push_str(
        "### Annotations that name pools, reserved addresses and networks\n\nThe names are \
         compared with `allowedPools` of loadbalancer-address (S17), and kept by \
         change-protection (S18).\n\n\
         | controller | annotation | names a | source |\n|---|---|---|---|\n",
    );
    for row in &CHOOSES {
        let list = if row.is_list { ", or a list" } else { "" };
        let _ = writeln!(
            page,
            "| `{}` | `{}` | {}{list} | {} |",
            row.by,
            row.key,
            row.origin.text(),
            cell(row.source)
        );
    }
    page.push('\n');
}

fn sharing(page: &mut String) {
    page.push_str(
        "### Annotations that share an address\n\n\
         | controller | annotation | with Services | source |\n|---|---|---|---|\n",
    );
    for row in &SHARES {
        let with = match row.with {
            With::SameValue => "of every namespace with the same value".to_owned(),
            With::Everybody => "of every namespace that have it".to_owned(),
            With::Namespace => "of the namespace with the same value".to_owned(),
            With::NamespaceUnless(across) => {
                let keys: Vec<_> = across.iter().map(|key| format!("`{key}`")).collect();
                format!(
                    "of the namespace with the same value, and of those that {} lists",
                    keys.join(" or ")
                )
            }
            With::Named => "that the value names as `namespace/name`".to_owned(),
        };
        let source = cell(row.source);
        let _ = writeln!(page, "| `{}` | `{}` | {with} | {source} |", row.by, row.key);
    }
    page.push('\n');
}

fn products(page: &mut String) {
    page.push_str(
        "### Annotations that choose the kind of load balancer\n\nBeside the switches and the \
         adopted load balancers above, these are what change-protection (S18) keeps as \
         `kind`.\n\n| controller | annotation | source |\n|---|---|---|\n",
    );
    for row in &PRODUCTS {
        let source = cell(row.source);
        let _ = writeln!(page, "| `{}` | `{}` | {source} |", row.by, row.key);
    }
    page.push('\n');
}

#[test]
fn no_question_about_a_controller_is_left_open() {
    for controller in &CONTROLLERS {
        assert!(
            QUESTIONS
                .iter()
                .any(|answers| answers.by == controller.name),
            "{} is missing",
            controller.name
        );
    }
    for by in VOIDS
        .iter()
        .map(|row| row.by)
        .chain(NAMES.iter().map(|row| row.by))
    {
        assert!(
            QUESTIONS.iter().any(|answers| answers.by == by),
            "{by} is missing"
        );
    }
    for answers in &QUESTIONS {
        for (column, cell) in COLUMNS.iter().zip(cells(answers)) {
            assert!(!cell.trim().is_empty(), "{}: {column}", answers.by);
        }
    }
}

/// The page must not say that a controller enforces source ranges where the policies assume that it
/// does not.
#[test]
fn the_page_agrees_with_the_policies_on_source_ranges() {
    for controller in &CONTROLLERS {
        let answers = QUESTIONS
            .iter()
            .find(|answers| answers.by == controller.name)
            .expect("a row");
        let begins_with = match controller.enforces {
            Enforces::Yes | Enforces::EachFamily => "enforced",
            Enforces::No => "not enforced",
            Enforces::Depends | Enforces::Where(_) => continue,
        };
        let exception = answers.ranges.starts_with("enforced for class");
        assert!(
            answers.ranges.starts_with(begins_with) || exception,
            "{}: {}",
            controller.name,
            answers.ranges
        );
    }
}

fn all_classes(page: &mut String) {
    page.push_str(
        "### Classes of load balancers\n\n| `spec.loadBalancerClass` | reach | served by \
        |\n|---|---|---|\n",
    );
    let classes = CONTROLLERS
        .iter()
        .flat_map(|controller| controller.classes)
        .chain(&classes::OTHERS);
    for class in classes {
        let reach = format!("{:?}", class.reach).to_lowercase();
        let _ = writeln!(
            page,
            "| `{}` | {reach} | {} |",
            class.name,
            cell(class.served_by)
        );
    }
    page.push('\n');
}

fn nodes(page: &mut String) {
    page.push_str(
        "### What a Node's providerID means\n\n| begins with | LoadBalancer Services are \
        served | source |\n|---|---|---|\n",
    );
    for row in &INFRASTRUCTURE {
        let serves = match row.serves {
            Serves::Cloud => "by the cloud",
            Serves::Nothing => "by nothing of its own",
        };
        let _ = writeln!(page, "| `{}` | {serves} | {} |", row.name, cell(row.source));
    }
    page.push_str(
        "| `k3s`, `rke2`, anything else | not known | embedded controllers write them even on a \
         cloud's machines |\n\n",
    );
}

fn exposing_annotations(page: &mut String) {
    page.push_str(
        "### Annotations that expose\n\n| annotation | values | what it does, and source \
        |\n|---|---|---|\n",
    );
    for row in &exposing::EXPOSING {
        let values = row
            .values
            .iter()
            .map(|value| format!("`{value}`"))
            .collect::<Vec<_>>()
            .join(" ");
        let values = if values.is_empty() {
            "any".to_owned()
        } else {
            values
        };
        let _ = writeln!(
            page,
            "| `{}` | {} | {} |",
            row.key,
            cell(&values),
            cell(row.source)
        );
    }
    page.push('\n');
}

fn metadata(page: &mut String) {
    page.push_str("### Metadata services\n\n| name | source |\n|---|---|\n");
    for row in &metadata_services::METADATA_SERVICES {
        let _ = writeln!(
            page,
            "| `{}.{}`, also with a region between | {} |",
            row.host,
            row.domain,
            cell(row.source)
        );
    }
    page.push('\n');
}

fn known_backends(page: &mut String) {
    let words = |words: &[&str]| {
        words
            .iter()
            .map(|word| format!("`{word}`"))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let ports = |ports: &[backends::KnownPort]| {
        ports
            .iter()
            .map(|port| format!("{} ({})", port.number, port.used_by))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let _ = write!(
        page,
        "### What marks an internal backend\n\n\
         Labels, entries of a selector, and labels of selected Pods, values compared without \
         case:\n\n\
         | label | values |\n|---|---|\n\
         | `app`, `app.kubernetes.io/name` | {} |\n\
         | `app.kubernetes.io/component` | {} |\n\
         | `tier`, `role`, `type` | {} |\n\
         | {} | any |\n\n\
         Names of ports and `appProtocol`, compared as a whole or by the first word that is not \
         a prefix: {}.\n\n\
         Ports that are rarely used for anything else: {}.\n\n\
         Ports that are also used for other things (a warning): {}.\n",
        words(&backends::PRODUCTS),
        words(&backends::ROLES),
        words(&backends::TIERS),
        words(&backends::OPERATOR_LABELS).replace("` `", "`, `"),
        words(&backends::PROTOCOLS),
        ports(&backends::STRICT_PORTS),
        ports(&backends::AMBIGUOUS_PORTS),
    );
}
