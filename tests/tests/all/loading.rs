//! Components and settings that can't serve as a policy are refused at load, with the fault and its
//! place.

use crate::host::{
    ENGINE, ENGINE_OF_SUITES, VALIDATE, ask, command, load, manifest, misbehave,
    misbehave_unsnapshotable, misbehave_with, misbehaving,
};
use sallyport::engine::{Engine, EngineConfig};
use sallyport::evaluator;
use sallyport_core::admission::Admission;
use sallyport_core::inventory::{Inventory, InventoryData};
use sallyport_core::manifest::Exemptions;
use sallyport_core::policy::{LoadError, Policy};
use serde_json::{Value, json};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// The preambles of binary WebAssembly.
const EMPTY_MODULE: &[u8] = b"\0asm\x01\0\0\0";
const EMPTY_COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

/// In a host, `configure` ran at load, and takes no part of an evaluation's deadline.
#[test]
fn suites_give_configure_its_time_at_load() {
    let spec = json!({"settings": {"atConfigure": "dawdle"}, "limits": {"deadline": "5ms"}});
    for engine in [&ENGINE, &ENGINE_OF_SUITES] {
        let policy = evaluator::load(engine, manifest(&spec), &misbehave()).expect("it fits");
        let (inventory, exemptions) = (InventoryData::default(), Exemptions::default());
        let admission = Admission::new(vec![policy], Inventory::from(inventory), exemptions);
        // On a busy machine, any evaluation may miss such a deadline now and then.
        let answers = |_| {
            ask(&admission, VALIDATE, &command("nothing"))
                .response
                .allowed
        };
        assert!((0..20).any(answers));
    }
}

/// Returns the error of an engine that gives guests little time at load.
fn too_slow(component: &[u8], settings: Value) -> String {
    static HASTY: LazyLock<Arc<Engine>> = LazyLock::new(|| {
        let config = EngineConfig {
            load_time: Duration::from_millis(500),
            ..EngineConfig::default()
        };
        Arc::new(Engine::new(&config).expect("this machine carries the engine"))
    });
    let manifest = manifest(&json!({"settings": settings}));
    let error = evaluator::load(&HASTY, manifest, component).expect_err("it loops");
    error.to_string()
}

fn refused(component: &[u8], settings: Value) -> String {
    load(component, &json!({"settings": settings}))
        .expect_err("it can't be used")
        .to_string()
}

/// Returns the guest with every occurrence of a text replaced by one of the same length.
fn patched(from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut component = misbehave();
    let starts: Vec<_> = (0..component.len())
        .filter(|&i| component[i..].starts_with(from.as_bytes()))
        .collect();
    assert!(!starts.is_empty(), "{from} is not in the guest");
    for start in starts {
        component[start..start + to.len()].copy_from_slice(to.as_bytes());
    }
    component
}

#[test]
fn a_policy_that_refuses_its_settings_is_quoted_with_every_path() {
    assert_eq!(
        refused(&misbehave(), json!({"atConfigure": "refuse"})),
        "spec.settings.atConfigure: refused, as it was told; spec.settings.atConfigure[1]: refused \
         twice"
    );
}

#[test]
fn a_policy_that_loops_in_configure_is_ended() {
    assert_eq!(
        too_slow(&misbehave(), json!({"atConfigure": "loop"})),
        "configure did not end within 500ms"
    );
}

#[test]
fn a_policy_that_traps_in_configure_is_refused() {
    let error = refused(&misbehave(), json!({"atConfigure": "trap"}));
    let place = "configure trapped: panicked at tests/guests/misbehave/src/lib.rs:";
    assert!(error.starts_with(place), "{error}");
    assert!(error.ends_with(": told to panic"), "{error}");
}

#[test]
fn a_memory_error_in_configure_names_the_limit() {
    let spec = json!({"settings": {"atConfigure": "hog"}, "limits": {"memory": "4Mi"}});
    let error = load(&misbehave(), &spec).expect_err("too much").to_string();
    assert_eq!(
        error,
        "configure needs more than its memory limit of 4096 KiB; raise spec.limits.memory"
    );
}

#[test]
fn a_policy_that_uses_up_a_stack_in_configure_is_refused() {
    let own = refused(&misbehave(), json!({"atConfigure": "recurse"}));
    assert_eq!(
        own,
        "configure trapped: wasm trap: out of bounds memory access"
    );
    let native = refused(&misbehave(), json!({"atConfigure": "descend"}));
    assert_eq!(native, "configure trapped: wasm trap: call stack exhausted");
}

#[test]
fn a_policy_that_misbehaves_in_describe_is_refused() {
    let error = |word| refused(&patched("at-describe:accept", word), json!({}));
    assert_eq!(
        too_slow(
            &patched("at-describe:accept", "at-describe:loop  "),
            json!({})
        ),
        "describe did not end within 500ms"
    );
    assert!(error("at-describe:panic ").starts_with("describe trapped: panicked at "));
    let hogs = error("at-describe:hog   ");
    assert_eq!(
        hogs,
        "describe needs more than its memory limit of 16384 KiB; raise spec.limits.memory"
    );
}

#[test]
fn a_policy_that_misbehaves_in_defaults_is_refused() {
    let error = |word| refused(&patched("at-defaults:accept", word), json!({}));
    assert_eq!(
        too_slow(
            &patched("at-defaults:accept", "at-defaults:loop  "),
            json!({})
        ),
        "defaults did not end within 500ms"
    );
    assert!(error("at-defaults:panic ").starts_with("defaults trapped: panicked at "));
    let hogs = error("at-defaults:hog   ");
    assert_eq!(
        hogs,
        "defaults needs more than its memory limit of 16384 KiB; raise spec.limits.memory"
    );
}

/// Returns the guest with one more module that has this start function and an empty table.
fn starts_with(code: &[u8]) -> Vec<u8> {
    let types_functions_and_table = b"\x01\x04\x01\x60\0\0\x03\x02\x01\0\x04\x04\x01\x70\0\0";
    let start = b"\x08\x01\0";
    let size = u8::try_from(code.len()).expect("tiny");
    let code = [&[10, size + 3, 1, size + 1, 0], code].concat();
    misbehave_with(&[types_functions_and_table, start.as_slice(), &code].concat())
}

#[test]
fn a_policy_that_loops_when_it_is_instantiated_is_ended() {
    // loop, br 0, end, end
    let error = too_slow(&starts_with(&[0x03, 0x40, 0x0c, 0, 0x0b, 0x0b]), json!({}));
    assert_eq!(error, "instantiation did not end within 500ms");
}

#[test]
fn a_policy_that_traps_when_it_is_instantiated_is_refused() {
    // unreachable, end
    let error = refused(&starts_with(&[0x00, 0x0b]), json!({}));
    assert!(error.starts_with("instantiation trapped: "), "{error}");
}

#[test]
fn a_policy_with_a_table_larger_than_the_hosts_is_refused() {
    // A table of funcref with at least 40,001 elements.
    let error = refused(
        &misbehave_with(b"\x04\x06\x01\x70\0\xc1\xb8\x02"),
        json!({}),
    );
    assert!(
        error.contains("table") && error.contains("40000"),
        "{error}"
    );
}

#[test]
fn a_policy_cannot_grow_a_table_beyond_the_hosts() {
    // The start function: ref.null func, i32.const 40,001, table.grow 0, i32.const -1, i32.eq, if,
    // unreachable, end, end.
    let grow = b"\xd0\x70\x41\xc1\xb8\x02\xfc\x0f\0\x41\x7f\x46\x04\x40\0\x0b\x0b";
    let error = refused(&starts_with(grow), json!({}));
    assert!(error.starts_with("instantiation trapped: "), "{error}");
}

#[test]
fn a_policy_that_fills_its_memory_is_snapshotted() {
    let spec = json!({"settings": {"atConfigure": "fill"}, "limits": {"memory": "4Mi"}});
    let policy = load(&misbehave(), &spec).expect("it stays within its limit");
    assert_eq!(policy.configured_per_instance(), None);
}

#[test]
fn a_policy_that_fills_all_memory_in_configure_is_refused() {
    let spec = json!({"settings": {"atConfigure": "fill"}, "limits": {"memory": "64Mi"}});
    let error = load(&misbehave(), &spec)
        .expect_err("no room for wizer")
        .to_string();
    let expected = "pre-initialisation failed (wizer's accessors don't trap: ";
    assert!(
        error.starts_with(expected)
            && error.ends_with("memory that is filled up to the host's limit"),
        "{error}"
    );
}

#[test]
fn the_host_works_on_after_every_failed_load() {
    for word in ["trap", "hog", "refuse", "recurse"] {
        refused(&misbehave(), json!({"atConfigure": word}));
    }
    assert!(
        !ask(&misbehaving(&json!({})), VALIDATE, &command("deny"))
            .response
            .allowed
    );
}

#[test]
fn a_component_without_a_snapshot_is_configured_each_time() {
    let policy = load(&misbehave_unsnapshotable(), &json!({})).expect("it works, slowly");
    assert_eq!(
        policy.configured_per_instance(),
        Some("nested components with modules not currently supported")
    );
    let host = Admission::new(
        vec![policy],
        Inventory::from(InventoryData::default()),
        Exemptions::default(),
    );
    assert!(!ask(&host, VALIDATE, &command("deny")).response.allowed);
}

#[test]
fn an_unknown_setting_is_named_with_the_nearest_known_one() {
    assert_eq!(
        refused(&misbehave(), json!({"atConfigur": "accept"})),
        "spec.settings: unknown key \"atConfigur\" (did you mean \"atConfigure\"?); known keys: \
         atConfigure"
    );
}

#[test]
fn a_setting_of_another_type_is_named_with_its_path() {
    assert_eq!(
        refused(&misbehave(), json!({"atConfigure": 5})),
        "spec.settings.atConfigure: expected string (put it in quotes), found integer 5"
    );
}

#[test]
fn what_is_no_web_assembly_is_corrupt() {
    let error = refused(b"this is no policy", json!({}));
    assert!(
        error.starts_with("not a valid WebAssembly component: "),
        "{error}"
    );
}

#[test]
fn an_empty_file_is_corrupt() {
    let error = refused(b"", json!({}));
    assert!(
        error.starts_with("not a valid WebAssembly component: "),
        "{error}"
    );
}

#[test]
fn a_truncated_component_is_corrupt_wherever_it_ends() {
    let component = misbehave();
    for length in (0..component.len()).step_by(component.len() / 40) {
        let error = refused(&component[..length], json!({}));
        // A cut between two sections leaves a valid component without exports.
        let is_clear = error.starts_with("not a valid WebAssembly component: ")
            || error.starts_with("exports no ");
        assert!(is_clear, "cut at {length}: {error}");
    }
}

#[test]
fn the_error_for_a_core_module_says_how_to_make_a_component() {
    let error = refused(EMPTY_MODULE, json!({}));
    assert!(
        error.starts_with(
            "a core WebAssembly module, not a component; link it with wasm-component-ld"
        ),
        "{error}"
    );
}

#[test]
fn the_error_for_a_component_of_another_world_names_what_it_lacks() {
    let error = refused(EMPTY_COMPONENT, json!({}));
    assert!(
        error.starts_with("exports no sallyport:policy/policy@0.2.0; it exports nothing"),
        "{error}"
    );
}

#[test]
fn an_import_of_another_function_is_named() {
    let error = refused(
        &patched("sallyport:policy/log@0.2.0", "wasi:logging/loggers@0.1.0"),
        json!({}),
    );
    assert!(
        error.starts_with("imports the function wasi:logging/loggers@0.1.0"),
        "{error}"
    );
    assert!(error.contains("which no policy may"), "{error}");
    for flag in [
        "componentize-py --stub-wasi",
        "componentize-qjs --stub-wasi",
        "jco componentize --disable all",
        "tinygo -target=wasm-unknown",
        "wasm32-unknown-unknown",
    ] {
        assert!(error.contains(flag), "{flag}: {error}");
    }
}

#[test]
fn an_import_that_is_not_of_wasi_has_another_fix() {
    let error = refused(
        &patched("sallyport:policy/log@0.2.0", "acme:tracing/tracers@0.1.0"),
        json!({}),
    );
    assert!(
        error.starts_with("imports the function acme:tracing/tracers@0.1.0"),
        "{error}"
    );
    assert!(
        error.ends_with("Remove the import from the policy's world"),
        "{error}"
    );
}

#[test]
fn another_contract_version_is_refused_with_both_versions() {
    assert_eq!(
        refused(&patched("@0.2.0", "@0.1.0"), json!({})),
        "speaks sallyport:policy@0.1.0, but this host speaks 0.2.0; rebuild it with the SDK of \
         0.2.0: write @0.2.0 after `include sallyport:policy/base` and the other names in its WIT"
    );
}

#[test]
fn a_broken_policy_fails_its_own_reviews_alone() {
    let broken = Policy::broken(
        manifest(&json!({"mode": "Warn"})),
        LoadError::component("it is broken"),
    );
    let mut sound = manifest(&json!({}));
    sound.metadata.name = "sound".into();
    let sound = evaluator::load(&crate::host::ENGINE, sound, &misbehave()).expect("sound");
    let host = Admission::new(
        vec![broken, sound],
        Inventory::from(InventoryData::default()),
        Exemptions::default(),
    );
    let outcome = ask(&host, VALIDATE, &command("deny"));
    let kinds: Vec<_> = outcome
        .evaluations
        .iter()
        .map(|one| one.error.as_ref().map(|error| error.kind()))
        .collect();
    assert_eq!(kinds, [Some("load"), None]);
    let message = outcome
        .response
        .denial
        .expect("the sound one denies")
        .message;
    assert!(
        message.starts_with("[sound] metadata.annotations: told to deny"),
        "{message}"
    );
}

#[test]
fn settings_are_part_of_a_snapshot() {
    let host = misbehaving(&json!({}));
    assert_eq!(host.policies()[0].configured_per_instance(), None);
}
