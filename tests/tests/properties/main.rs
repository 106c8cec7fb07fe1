//! Properties of every Service, tested on generated ones with the real components through the one
//! evaluation path.
//!
//! Every run has the same cases, unless PROPTEST_RNG_SEED is set; PROPTEST_CASES is the number for
//! each property. A failure shows the smallest failing request as JSON.

mod large;
mod review;
mod services;
mod shapes;
mod widening;
mod worlds;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::RngSeed;
use review::{FUNCTIONS, Json, Request, VALIDATE, broken, keys, verdict};
use sallyport_core::admission::{Exemption, Function, Outcome};
use sallyport_core::contract::review::Phase;
use sallyport_facts::internal::{CONTROLLERS, Controller, Default, Enforces};
use serde_json::{Map, Value, json};
use services::{
    AWS_TYPE, BREAK_GLASS, GLASS, SOURCE_RANGES, annotation, nearly_fine, pair, service,
};
use std::collections::BTreeSet;
use worlds::{EXTRA, GRANTER, PATCHING, PATCHING_MORE, STRICT, World};

/// `make release-check` tries more, with another seed each time.
const CASES: u32 = 256;

fn config() -> ProptestConfig {
    let mut config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = CASES;
    }
    match config.rng_seed {
        RngSeed::Random => ProptestConfig {
            rng_seed: RngSeed::Fixed(20_261_123),
            ..config
        },
        RngSeed::Fixed(_) => config,
    }
}

/// Generates any Service, or one that nearly meets all rules of a world.
fn service_in(world: usize) -> BoxedStrategy<Json> {
    prop_oneof![service(), nearly_fine(controller(world))].boxed()
}

fn placed() -> impl Strategy<Value = (usize, Json)> {
    services::world().prop_flat_map(|world| (Just(world), service_in(world)))
}

fn controller(world: usize) -> Option<&'static Controller> {
    CONTROLLERS.get(world)
}

fn check_sound(outcome: &Outcome) -> Result<(), TestCaseError> {
    let broken = broken(outcome);
    prop_assert!(broken.is_none(), "{}", broken.unwrap_or_default());
    Ok(())
}

mod every_policy_has_an_opinion {
    use super::*;

    fn on(object: BoxedStrategy<Value>) -> BoxedStrategy<Request> {
        review::requests((object.clone(), object).boxed())
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn on_any_service(world in services::world(),
            request in on(services::any_service().prop_map(|Json(it)| it).boxed())) {
            for worlds in [&STRICT, &PATCHING, &PATCHING_MORE] {
                for function in FUNCTIONS {
                    check_sound(&worlds[world].review(function, &request))?;
                }
            }
        }

        #[test]
        fn on_a_service_with_something_broken(request in on(shapes::broken_service())) {
            for function in FUNCTIONS {
                check_sound(&PATCHING[0].review(function, &request))?;
            }
        }

        #[test]
        fn on_any_json(request in on(shapes::any_object())) {
            for function in FUNCTIONS {
                check_sound(&PATCHING[0].review(function, &request))?;
            }
        }

        #[test]
        fn on_a_captured_review_with_something_broken(Json(review) in shapes::broken_review()) {
            for function in FUNCTIONS {
                if let Some(outcome) = PATCHING[0].try_review(function,
                    review.to_string().as_bytes()) {
                    check_sound(&outcome)?;
                }
            }
        }
    }
}

mod patches {
    use super::*;

    /// Returns the object after the patch, if there is one.
    fn patched(object: &Value, outcome: &Outcome) -> Result<Option<Value>, TestCaseError> {
        let Some(patch) = &outcome.response.patch else {
            return Ok(None);
        };
        let fits = |error: &dyn std::fmt::Display| TestCaseError::fail(format!("{patch}: {error}"));
        let operations: json_patch::Patch =
            serde_json::from_str(patch).map_err(|error| fits(&error))?;
        let mut object = object.clone();
        json_patch::patch(&mut object, &operations).map_err(|error| fits(&error))?;
        Ok(Some(object))
    }

    /// Generates a create, or an update from another Service.
    fn request() -> impl Strategy<Value = (usize, Request)> {
        services::world().prop_flat_map(|world| {
            (service_in(world), prop::option::of(service_in(world))).prop_map(
                move |(Json(mut object), old)| {
                    let request = match old {
                        None => {
                            // Nothing is allocated yet, so the client wrote every field.
                            object["metadata"]
                                .as_object_mut()
                                .expect("metadata")
                                .remove("managedFields");
                            Request::create(&object)
                        }
                        Some(Json(mut old)) => {
                            old["metadata"]["namespace"] = object["metadata"]["namespace"].clone();
                            Request::update(&old, &object)
                        }
                    };
                    (world, request)
                },
            )
        })
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn apply_and_leave_nothing_to_patch((world, request) in request()) {
            for worlds in [&PATCHING, &PATCHING_MORE] {
                let world = &worlds[world];
                if let Some(object) = patched(&request.object,
                    &world.review(Function::Mutate, &request))? {
                    let again = world.review(Function::Mutate, &request.of(object.clone()));
                    prop_assert_eq!(&again.response.patch, &None, "patched once: {}", object);
                }
            }
        }

        #[test]
        fn bring_no_violation((world, request) in request()) {
            for worlds in [&PATCHING, &PATCHING_MORE] {
                let world = &worlds[world];
                let mutated = world.review(Function::Mutate, &request);
                let Some(object) = patched(&request.object, &mutated)? else { continue };
                for phase in [Phase::Mutating, Phase::Validating] {
                    let judge = |request: &Request| world.review(Function::Validate(phase),
                        request);
                    let (before, after) = (judge(&request), judge(&request.of(object.clone())));
                    let coerced = patches(&mutated, "clusterip-internal");
                    let new = &keys(&after) - &keys(&before);
                    prop_assert!(new.is_empty(), "{:?} by {:?}: \
                        {}", new, mutated.response.patch, object);
                    // After the mutating phase the API server wipes these fields itself, so M5 does
                    // not.
                    let strips = phase == Phase::Mutating && patches(&mutated, "dormant-fields");
                    for (mends, rule) in [(coerced, "S07"), (strips, "S11")] {
                        if mends {
                            let left: Vec<_> =
                                keys(&after).into_iter().filter(|(of,
                                    key)| of == rule && !key.is_empty()).collect();
                            prop_assert!(left.is_empty(), "{:?} after {:?}: \
                                {}", left, mutated.response.patch, object);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn create_the_metadata_that_a_raw_object_lacks() {
        let world = World::of(&PATCHING, "azure");
        for object in [
            json!({"spec": {"type": "LoadBalancer"}}),
            json!({"metadata": null, "spec": {"type": "LoadBalancer"}}),
        ] {
            let outcome = world.review(Function::Mutate, &Request::create(&object));
            assert_eq!(broken(&outcome), None);
            let patched = patched(&object, &outcome)
                .expect("it fits")
                .expect("a patch");
            let switch = "service.beta.kubernetes.io/azure-load-balancer-internal";
            assert_eq!(patched["metadata"]["annotations"][switch], "true");
        }
    }

    fn patches(outcome: &Outcome, policy: &str) -> bool {
        outcome
            .evaluations
            .iter()
            .any(|evaluation| &*evaluation.policy == policy && !evaluation.patch.is_empty())
    }
}

mod ratchet {
    use super::*;

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn never_denies_what_changes_nothing((world, Json(object)) in placed(),
            status in any::<bool>()) {
            let request = Request { status, ..Request::update(&object, &object) };
            check_allowed(&STRICT[world].review(VALIDATE, &request))?;
        }

        #[test]
        fn never_denies_what_concerns_no_rule(
            (world, Json(old)) in placed(),
            map in select(vec!["labels", "annotations"]),
            status in any::<bool>(),
        ) {
            let mut object = old.clone();
            if !object["metadata"][map].is_object() {
                object["metadata"][map] = json!({});
            }
            object["metadata"][map]["example.com/unrelated"] = json!("x");
            for (old, object) in [(&old, &object), (&object, &old)] {
                let request = Request { status, ..Request::update(old, object) };
                check_allowed(&STRICT[world].review(VALIDATE, &request))?;
            }
        }
    }

    fn check_allowed(outcome: &Outcome) -> Result<(), TestCaseError> {
        prop_assert!(outcome.response.allowed, "{:?}", outcome.response.denial);
        Ok(())
    }
}

mod order {
    use super::*;

    /// Reorders everything whose order has no meaning.
    fn reorder(object: &Value, places: &[Index]) -> Value {
        let mut object = object.clone();
        for list in ["ports", "externalIPs", "loadBalancerSourceRanges"] {
            if let Some(Value::Array(list)) = object["spec"].get_mut(list) {
                shuffle(list, places);
            }
        }
        if let Some(Value::Array(list)) = object["metadata"].get_mut("managedFields") {
            shuffle(list, places);
        }
        object
    }

    fn shuffle<T>(list: &mut [T], places: &[Index]) {
        for (i, place) in (0..list.len()).zip(places) {
            list.swap(i, place.index(list.len()));
        }
    }

    /// Serializes the object with the keys of every map in another order than serde_json's.
    fn text(value: &Value, places: &[Index]) -> String {
        match value {
            Value::Object(map) => {
                let mut entries: Vec<_> = map
                    .iter()
                    .map(|(key, value)| {
                        format!("{}:{}", Value::from(key.as_str()), text(value, places))
                    })
                    .collect();
                shuffle(&mut entries, places);
                format!("{{{}}}", entries.join(","))
            }
            Value::Array(list) => {
                let list: Vec<_> = list.iter().map(|value| text(value, places)).collect();
                format!("[{}]", list.join(","))
            }
            scalar => scalar.to_string(),
        }
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn of_lists_and_maps_means_nothing(
            (world, Json(object)) in placed(),
            old in prop::option::of(service()),
            places in vec(any::<Index>(), 8),
        ) {
            let request = |object: &Value| match &old {
                None => Request::create(object),
                Some(Json(old)) => Request::update(old, object),
            };
            let one = STRICT[world].review(VALIDATE, &request(&object));
            let body: Value = serde_json::from_slice(&request(&reorder(&object,
                &places)).body()).expect("JSON");
            let other = STRICT[world].try_review(VALIDATE,
                text(&body, &places).as_bytes()).expect("a review");
            prop_assert_eq!(verdict(&one), verdict(&other), "{}", text(&body, &places));
        }

        #[test]
        fn in_which_policies_are_given_means_nothing((world, Json(object)) in placed()) {
            let body = Request::create(&object).body();
            for worlds in [&STRICT, &PATCHING] {
                for function in FUNCTIONS {
                    let world = &worlds[world];
                    let [one, other] = [&world.admission, &world.reversed].map(|admission| {
                        worlds::ask(admission, function, &body).expect("a \
                            review").response.to_json()
                    });
                    prop_assert_eq!(String::from_utf8_lossy(&one), String::from_utf8_lossy(&other));
                }
            }
        }
    }
}

/// The author of a Service writes its labels and annotations, too. They may restrict a Service,
/// and only those that a rule names as its permission may permit more.
mod permission {
    use super::*;

    const KEY: &str = "example.com/added";

    fn with(object: &Value, map: &str, key: &str, value: &str) -> Value {
        let mut object = object.clone();
        if !object["metadata"][map].is_object() {
            object["metadata"][map] = Value::Object(Map::new());
        }
        object["metadata"][map][key] = json!(value);
        object
    }

    /// Returns the denials as policy and rule.
    fn rules(outcome: &Outcome) -> BTreeSet<(String, String)> {
        verdict(outcome)
            .1
            .into_iter()
            .map(|(policy, rule, ..)| (policy, rule))
            .collect()
    }

    fn has(object: &Value, map: &str, key: &str) -> bool {
        object["metadata"][map].get(key).is_some()
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn comes_by_no_other_annotation_or_label(
            (world, Json(object)) in placed(),
            annotations in vec(annotation(), 12),
            labels in vec(pair(), 6),
        ) {
            let world = &STRICT[world];
            let judge = |object: &Value| world.review(VALIDATE, &Request::create(object));
            let before = judge(&object);
            let permissions = services::permissions();
            let annotations = annotations.into_iter().filter(|(key, _)| !permissions.contains(key));
            let annotations = annotations.map(|(key, value)| ("annotations", key, value));
            let labels = labels.into_iter().map(|(key, value)| ("labels", key, value));
            let unheard_of = [("annotations", KEY.to_owned(), "true".to_owned())];
            for (map, key, value) in annotations.chain(labels).chain(unheard_of) {
                if !has(&object, map, &key) {
                    let object = with(&object, map, &key, &value);
                    let after = judge(&object);
                    let lost = &rules(&before) - &rules(&after);
                    prop_assert!(lost.is_empty(), "{:?} by {}[{:?}] = {:?}: \
                        {}", lost, map, key, value, object);
                    let allowed = after.response.allowed && !before.response.allowed;
                    prop_assert!(!allowed, "allowed by {}[{:?}] = {:?}: \
                        {}", map, key, value, object);
                }
            }
        }

        /// On AWS, one annotation chooses which of two controllers reads the others. By itself it
        /// permits nothing.
        #[test]
        fn comes_by_no_choice_of_a_controller_alone(
            Json(object) in nearly_fine(World::of(&STRICT, "aws-lbc").controller),
            value in select(vec!["external", "nlb-ip", "nlb"]),
        ) {
            let world = World::of(&STRICT, "aws-lbc");
            let mut object = object;
            if let Some(annotations) = object["metadata"]["annotations"].as_object_mut() {
                annotations.retain(|key,
                    _| !services::all_switches().iter().any(|switch| switch.key == key));
                annotations.remove(AWS_TYPE);
            }
            let is_allowed = |object: &Value| world.review(VALIDATE,
                &Request::create(object)).response.allowed;
            let chosen = with(&object, "annotations", AWS_TYPE, value);
            prop_assert!(is_allowed(&object) || !is_allowed(&chosen), "{}", chosen);
        }

        #[test]
        fn is_broken_glass_in_the_hands_of_a_granter_only((world, Json(object)) in placed()) {
            let world = &STRICT[world];
            let object = with(&object, "annotations", BREAK_GLASS, GLASS);
            let by = |user| world.review(VALIDATE, &Request::create(&object).by(user));
            let (granter, other) = (by(GRANTER), by("alice"));
            prop_assert!(granter.response.allowed, "{:?}", granter.response.denial);
            prop_assert!(!other.response.allowed);
            prop_assert_eq!(verdict(&granter).1, verdict(&other).1);
        }
    }

    fn allowed(world: &'static World, object: &Value) -> bool {
        world
            .review(VALIDATE, &Request::create(object))
            .response
            .allowed
    }

    #[test]
    fn comes_by_the_switch_of_the_controller_that_serves() {
        for controller in &CONTROLLERS {
            let world = World::of(&STRICT, controller.name);
            let denied = |object: &Value| {
                let outcome = world.review(VALIDATE, &Request::create(object));
                rules(&outcome)
                    .into_iter()
                    .map(|(_, rule)| rule)
                    .collect::<Vec<_>>()
            };
            let fine = services::fine_load_balancer(controller);
            let Some(switch) = controller.switches.first() else {
                assert!(
                    denied(&fine).contains(&"S04".to_owned()),
                    "{}",
                    controller.name
                );
                continue;
            };
            // This violation remains if nobody enforces source ranges.
            let enforces = controller.enforces != Enforces::No;
            assert_eq!(
                denied(&fine),
                if enforces { vec![] } else { vec!["S05"] },
                "{}",
                controller.name
            );
            let mut bare = fine;
            bare["metadata"]["annotations"]
                .as_object_mut()
                .expect("a map")
                .remove(switch.key);
            let is_internal = controller.default == Default::Internal;
            assert_eq!(
                denied(&bare).contains(&"S04".to_owned()),
                !is_internal,
                "{}",
                controller.name
            );
        }
    }

    #[test]
    fn comes_by_what_settings_and_the_older_source_ranges_say() {
        let world = World::of(&STRICT, "azure");
        let mut bare = services::fine_load_balancer(world.controller.expect("azure"));
        bare["metadata"]["annotations"] = json!({});
        assert!(!allowed(world, &bare));
        assert!(allowed(
            world,
            &with(&bare, "annotations", EXTRA.0, EXTRA.1)
        ));
        let mut open = services::fine_load_balancer(world.controller.expect("azure"));
        open["spec"]
            .as_object_mut()
            .expect("a spec")
            .remove("loadBalancerSourceRanges");
        assert!(!allowed(world, &open));
        assert!(allowed(
            world,
            &with(&open, "annotations", SOURCE_RANGES, "10.0.0.0/8")
        ));
    }

    /// The other annotation makes the controller read a switch that is there already.
    #[test]
    fn comes_by_the_choice_of_a_controller_beside_its_switch() {
        let fine = services::fine_load_balancer(
            World::of(&STRICT, "aws-lbc")
                .controller
                .expect("a controller"),
        );
        let mut bare = fine.clone();
        bare["metadata"]["annotations"]
            .as_object_mut()
            .expect("a map")
            .remove(AWS_TYPE);
        assert!(!allowed(World::of(&STRICT, "aws-lbc"), &bare));
        assert!(allowed(World::of(&STRICT, "aws-lbc"), &fine));
    }

    #[test]
    fn the_mutating_phase_leaves_alone_what_is_excused() {
        let world = &PATCHING[0];
        let bare = json!({"metadata": {"name": "w", "namespace": "team"},
            "spec": {"type": "LoadBalancer"}});
        let object = with(&bare, "annotations", BREAK_GLASS, GLASS);
        let by = |user| world.review(Function::Mutate, &Request::create(&object).by(user));
        assert_eq!(by(GRANTER).exemption, Some(Exemption::BreakGlass));
        assert!(by("alice").response.patch.is_some());
    }
}
