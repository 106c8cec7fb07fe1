//! The tables by which the policies decide, with their sources.

use super::cell;
use sallyport_policy::facts::internal::{CONTROLLERS, Controller, Reads, Switch};
use sallyport_policy::facts::nodes::{INFRASTRUCTURE, Serves};
use sallyport_policy::facts::{backends, classes, exposing, metadata_services};
use std::fmt::Write as _;

pub(super) fn write(page: &mut String) {
    page.push_str(
        "## Facts\n\nThe tables by which the shipped policies decide; `sallyport_policy::facts` has them for your own.\n\n",
    );
    switches(page);
    all_classes(page);
    nodes(page);
    exposing_annotations(page);
    metadata(page);
    known_backends(page);
}

fn switches(page: &mut String) {
    page.push_str(
        "### What makes a load balancer internal\n\nKeys count in their exact case, values by the controller's own parser. `providers` of \
         loadbalancer-exposure names controllers by the first column.\n\n\
         | controller | of | annotation | internal when | source |\n|---|---|---|---|---|\n",
    );
    for controller in &CONTROLLERS {
        for switch in controller.switches {
            row(page, controller, switch, "");
        }
        if let Some((key, value, switches)) = &controller.variant {
            for switch in *switches {
                row(page, controller, switch, &format!(", with `{key}: {value}`"));
            }
        }
    }
    page.push('\n');
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

fn reads(reads: Reads) -> String {
    match reads {
        Reads::Exactly(values) => {
            values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(" or ") + ", exactly"
        }
        Reads::ParseBool => "`1`, `t`, `T`, `TRUE`, `true`, `True`".to_owned(),
        Reads::NotFalse => "anything but `false` and the empty text".to_owned(),
        Reads::Presence => "not empty".to_owned(),
        Reads::Inner => "JSON with `\"type\":\"inner\"`, plainly written".to_owned(),
    }
}

fn all_classes(page: &mut String) {
    page.push_str("### Classes of load balancers\n\n| `spec.loadBalancerClass` | reach | served by |\n|---|---|---|\n");
    let classes = CONTROLLERS.iter().flat_map(|controller| controller.classes).chain(&classes::OTHERS);
    for class in classes {
        let reach = format!("{:?}", class.reach).to_lowercase();
        let _ = writeln!(page, "| `{}` | {reach} | {} |", class.name, cell(class.served_by));
    }
    page.push('\n');
}

fn nodes(page: &mut String) {
    page.push_str("### What a Node's providerID means\n\n| begins with | LoadBalancer Services are served | source |\n|---|---|---|\n");
    for row in &INFRASTRUCTURE {
        let serves = match row.serves {
            Serves::Cloud => "by the cloud",
            Serves::Nothing => "by nothing of its own",
        };
        let _ = writeln!(page, "| `{}` | {serves} | {} |", row.name, cell(row.source));
    }
    page.push_str(
        "| `k3s`, `rke2`, anything else | not known | embedded controllers write them even on a cloud's machines |\n\n",
    );
}

fn exposing_annotations(page: &mut String) {
    page.push_str("### Annotations that expose\n\n| annotation | values | what it does, and source |\n|---|---|---|\n");
    for row in &exposing::EXPOSING {
        let values = row.values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(" ");
        let values = if values.is_empty() { "any".to_owned() } else { values };
        let _ = writeln!(page, "| `{}` | {} | {} |", row.key, cell(&values), cell(row.source));
    }
    page.push('\n');
}

fn metadata(page: &mut String) {
    page.push_str("### Metadata services\n\n| name | source |\n|---|---|\n");
    for row in &metadata_services::METADATA_SERVICES {
        let _ = writeln!(page, "| `{}.{}`, also with a region between | {} |", row.host, row.domain, cell(row.source));
    }
    page.push('\n');
}

fn known_backends(page: &mut String) {
    let words = |words: &[&str]| words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" ");
    let ports = |ports: &[backends::KnownPort]| {
        ports.iter().map(|port| format!("{} ({})", port.number, port.used_by)).collect::<Vec<_>>().join(", ")
    };
    let _ = write!(
        page,
        "### What marks an internal backend\n\n\
         Labels, entries of a selector, and labels of selected Pods, values without regard to case:\n\n\
         | label | values |\n|---|---|\n\
         | `app`, `app.kubernetes.io/name` | {} |\n\
         | `app.kubernetes.io/component` | {} |\n\
         | `tier`, `role`, `type` | {} |\n\
         | {} | any |\n\n\
         Names of ports and `appProtocol`, whole or the first word that is no prefix: {}.\n\n\
         Ports that hardly anything else uses: {}.\n\n\
         Ports that other things use, too (a warning): {}.\n",
        words(&backends::PRODUCTS),
        words(&backends::ROLES),
        words(&backends::TIERS),
        words(&backends::OPERATOR_LABELS).replace("` `", "`, `"),
        words(&backends::PROTOCOLS),
        ports(&backends::STRICT_PORTS),
        ports(&backends::AMBIGUOUS_PORTS),
    );
}
