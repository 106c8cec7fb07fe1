//! Writes the host's own answers to every case of the suites, for the test that compares them with
//! those of the playground's engine (`webhook-host/console/test/identity.mjs`).
//!
//! `scripts/console.sh` runs this with `--ignored`. The answers are complete, and are made by the
//! very code that makes them in the browser (`console_engine::answers`), but for what runs the
//! policies.

use console_engine::answers;
use sallyport::engine::{Engine, EngineConfig};
use sallyport::evaluator;
use sallyport::suites::{self, ModuleSearch};
use sallyport_core::policy::LoadError;
use sallyport_core::suite::Source;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[test]
#[ignore = "writes what webhook-host/console/test/identity.mjs reads; scripts/console.sh runs it"]
fn every_case_gets_an_answer_to_compare_with() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let root = root.canonicalize().expect("the repository");
    let config = EngineConfig {
        concurrency: 1,
        cache: Some(sallyport_tests::compiled()),
        // As in the browser.
        snapshots: false,
        ..EngineConfig::default()
    };
    let engine = Arc::new(Engine::new(&config).expect("an engine"));
    let (files, errors) = suites::find(&[root.join("tests/fixtures")]);
    assert!(errors.is_empty(), "{errors:?}");
    let search = ModuleSearch {
        directory: Some(root.join("target/policies")),
    };
    let load = move |source: &Source| {
        let file = source.component.as_ref().expect("suites name files");
        let component = std::fs::read(file).map_err(|e| LoadError::component(e.to_string()))?;
        evaluator::load(&engine, source.manifest.clone(), &component)
    };
    let mut suites = vec![];
    for file in &files {
        let suite = suites::read(file, &search).expect("a suite");
        let path: PathBuf = file.strip_prefix(&root).expect("below the root").into();
        let cases = answers::of_suite(&suite, &[], load.clone());
        suites.push(json!({"suite": path, "cases": cases}));
    }
    let out = root.join("target/console-build");
    std::fs::create_dir_all(&out).expect("a place to write");
    std::fs::write(out.join("native.json"), json!(suites).to_string()).expect("writable");
}
