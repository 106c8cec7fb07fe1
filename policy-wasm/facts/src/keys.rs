//! The keys of the annotations that controllers of load balancers read: what a policy compares that
//! goes by the tables.

use super::addresses::NAMES;
use super::controller::{AWS_TYPE, Controller, Enforces, SOURCE_RANGES, Switch, When};
use super::controllers::CONTROLLERS;
use super::voids::VOIDS;

/// Returns every key in the tables of switches, source ranges, addresses and what voids them; some
/// more than once.
pub fn of_load_balancers() -> Vec<&'static str> {
    let mut keys = vec![AWS_TYPE, SOURCE_RANGES];
    for controller in &CONTROLLERS {
        of_controller(controller, &mut keys);
    }
    for void in &VOIDS {
        keys.push(void.key);
    }
    for names in &NAMES {
        keys.push(names.key);
    }
    keys
}

fn of_controller(controller: &Controller, keys: &mut Vec<&'static str>) {
    of_switches(controller.switches, keys);
    of_enforcement(controller.enforces, keys);
    keys.extend_from_slice(controller.ranges);
    if let Some(variant) = &controller.variant {
        of_switches(variant.switches, keys);
        of_enforcement(variant.enforces, keys);
        if let When::Annotation(key, _) = variant.when {
            keys.push(key);
        }
    }
}

fn of_switches(switches: &[Switch], keys: &mut Vec<&'static str>) {
    for switch in switches {
        keys.push(switch.key);
    }
}

fn of_enforcement(enforces: Enforces, keys: &mut Vec<&'static str>) {
    if let Enforces::Where(annotations) = enforces {
        for (key, _) in annotations {
            keys.push(key);
        }
    }
}
