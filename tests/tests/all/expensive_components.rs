//! Components that are expensive to compile: the host refuses them before it compiles anything, or
//! ends the child process that compiles them, and keeps serving.
//!
//! Each component is the working guest `misbehave` with an expensive part.

use crate::command_line::sallyport;
use crate::host::{load, misbehave};
use crate::program::{Program, directory, manifest, put};
use serde_json::json;
use std::time::{Duration, Instant};

const TYPE: u8 = 1;
const IMPORT: u8 = 2;
const FUNCTION: u8 = 3;
const GLOBAL: u8 = 6;
const CODE: u8 = 10;
const DATA: u8 = 11;

/// Ids of a component's sections.
const MODULES: u8 = 1;
const COMPONENTS: u8 = 4;
const TYPES: u8 = 7;

const EMPTY_COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

/// Encodes an unsigned number in LEB128.
fn number(mut value: usize) -> Vec<u8> {
    let mut bytes = vec![];
    loop {
        let low = u8::try_from(value & 0x7f).expect("seven bits");
        value >>= 7;
        bytes.push(if value == 0 { low } else { low | 0x80 });
        if value == 0 {
            return bytes;
        }
    }
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id], &*number(content.len()), content].concat()
}

/// Encodes a section with a vector of `count` equal items.
fn items(id: u8, count: usize, item: &[u8]) -> Vec<u8> {
    section(id, &[number(count), item.repeat(count)].concat())
}

fn module(sections: &[Vec<u8>]) -> Vec<u8> {
    [b"\0asm\x01\0\0\0", &*sections.concat()].concat()
}

/// Returns the guest with one more module, which is compiled although nothing instantiates it.
fn with_module(module: &[u8]) -> Vec<u8> {
    [misbehave(), section(MODULES, module)].concat()
}

/// Returns a module of `count` equal functions without parameters, from groups of locals and code.
fn functions(count: usize, locals: &[u8], code: &[u8]) -> Vec<u8> {
    let body = [locals, code, &[0x0b]].concat();
    let body = [number(body.len()), body].concat();
    let types = items(TYPE, 1, &[0x60, 0, 0]);
    module(&[
        types,
        items(FUNCTION, count, &[0]),
        items(CODE, count, &body),
    ])
}

fn locals(count: usize) -> Vec<u8> {
    // One group of i32.
    [vec![1], number(count), vec![0x7f]].concat()
}

/// Returns the code of nested loops. Each changes some locals, so that each loop's head needs a
/// place for all of them.
fn nested_loops(loops: usize, locals: usize) -> Vec<u8> {
    let mut code = vec![];
    for index in 0..loops {
        let local = number(index * 7 % locals);
        // loop, local.get, i32.const 1, i32.add, local.set
        code.extend([0x03, 0x40, 0x20]);
        code.extend(&local);
        code.extend([0x41, 1, 0x6a, 0x21]);
        code.extend(&local);
    }
    for index in 0..loops {
        // local.get, br_if 0, end
        code.push(0x20);
        code.extend(number(index * 11 % locals));
        code.extend([0x0d, 0, 0x0b]);
    }
    code
}

/// Returns a component that passes every bound and takes minutes to compile.
pub(crate) fn slow() -> Vec<u8> {
    with_module(&functions(40, &locals(450), &nested_loops(1000, 450)))
}

/// Returns a component for each bound that exceeds it, with the noun that names the bound and the
/// least number found.
pub(crate) fn exceeding() -> Vec<(&'static str, usize, Vec<u8>)> {
    let nothing = number(0);
    let many = |count, id, item: &[u8]| with_module(&module(&[items(id, count, item)]));
    let block = [[0x02, 0x40].repeat(10_000), vec![0x0b; 10_000]].concat();
    // i32.const 0, br_table with targets 0
    let table = [vec![0x41, 0, 0x0e], number(100_000), vec![0; 100_001]].concat();
    let small = section(MODULES, &module(&[]));
    let nested = (0..20).fold(EMPTY_COMPONENT.to_vec(), |inner, _| {
        [EMPTY_COMPONENT, &*section(COMPONENTS, &inner)].concat()
    });
    let empty = section(COMPONENTS, EMPTY_COMPONENT);
    vec![
        (
            "pairs of a local variable",
            501_000,
            with_module(&functions(1, &locals(3000), &nested_loops(1000, 3000))),
        ),
        (
            "local variables",
            40_000,
            with_module(&functions(1, &locals(40_000), &[])),
        ),
        (
            "functions",
            50_000,
            with_module(&functions(50_000, &nothing, &[])),
        ),
        (
            "bytes of code",
            5_000_002,
            with_module(&functions(1, &nothing, &vec![0x01; 5_000_000])),
        ),
        (
            "levels of nested blocks",
            2_001,
            with_module(&functions(1, &nothing, &block)),
        ),
        (
            "targets of br_table",
            100_000,
            with_module(&functions(1, &nothing, &table)),
        ),
        (
            "core modules",
            33,
            [misbehave(), small.repeat(100)].concat(),
        ),
        (
            "nested components",
            65,
            [misbehave(), empty.repeat(100)].concat(),
        ),
        (
            "levels of components in components",
            9,
            [misbehave(), section(COMPONENTS, &nested)].concat(),
        ),
        ("types", 20_000, many(20_000, TYPE, &[0x60, 0, 0])),
        (
            "types",
            20_000,
            [misbehave(), items(TYPES, 20_000, &[0x7f])].concat(),
        ),
        // i32, i32.const 0, end
        (
            "globals",
            20_000,
            many(20_000, GLOBAL, &[0x7f, 0, 0x41, 0, 0x0b]),
        ),
        // Passive and empty.
        ("data segments", 50_000, many(50_000, DATA, &[1, 0])),
        // An immutable global without a name.
        ("imports", 20_000, many(20_000, IMPORT, &[0, 0, 3, 0x7f, 0])),
    ]
}

#[test]
fn every_error_names_the_bound_the_number_found_and_the_fix() {
    for (noun, found, component) in exceeding() {
        let began = Instant::now();
        let error = load(&component, &json!({})).expect_err(noun).to_string();
        assert!(error.starts_with("not compiled: "), "{noun}: {error}");
        let number = error
            .split("has ")
            .nth(1)
            .and_then(|rest| rest.split(' ').next()?.parse().ok());
        // The guest itself has some, too.
        assert!(
            number.is_some_and(|number| (found..found + 500).contains(&number)),
            "{noun}: {error}"
        );
        assert!(error.contains(&format!(" {noun}")), "{noun}: {error}");
        assert!(
            error.contains(", and a policy may have at most ") && error.contains("; "),
            "{noun}: {error}"
        );
        assert!(
            error.len() < 300 && began.elapsed() < Duration::from_secs(10),
            "{noun}: {:?}",
            began.elapsed()
        );
    }
}

#[test]
fn a_foreign_import_is_refused_before_anything_is_compiled() {
    // Imports a function of the previous type: `(type (func)) (import "wasi:clock" (func (type
    // 0)))`, in a component that is slow to compile.
    let ty = section(7, b"\x01\x40\0\x01\0");
    let import = section(10, b"\x01\0\x04back\x01\0");
    let slow = section(
        MODULES,
        &functions(40, &locals(450), &nested_loops(1000, 450)),
    );
    let began = Instant::now();
    let error = load(&[EMPTY_COMPONENT, &ty, &import, &slow].concat(), &json!({}))
        .expect_err("foreign")
        .to_string();
    assert!(
        error.starts_with("imports the function back, which no policy may"),
        "{error}"
    );
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn inspect_and_test_refuse_a_dear_component_with_its_bound() {
    let policy = manifest("dear", &json!({"module": {"file": "dear.wasm"}}));
    let suite = "apiVersion: sallyport.dev/v1alpha1\nkind: Suite\nmetadata: {name: \
        dear}\nspec:\n  policy: {manifest: \
                 policy.yaml}\n  cases: [{name: any, object: {spec: {type: ClusterIP}}, expect: \
                 {allowed: true}}]\n";
    let directory = directory(&[
        ("policy.yaml", policy),
        ("dear.suite.yaml", suite.to_owned()),
    ]);
    let dear = with_module(&functions(1, &locals(3000), &nested_loops(1000, 3000)));
    std::fs::write(directory.path().join("dear.wasm"), dear).expect("written");
    let path = |name| {
        directory
            .path()
            .join(name)
            .to_str()
            .expect("UTF-8")
            .to_owned()
    };
    for arguments in [
        ["inspect", "--no-cache", &path("dear.wasm")],
        ["test", "--no-cache", &path("dear.suite.yaml")],
    ] {
        let output = sallyport(&arguments);
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        assert!(
            !output.status.success() && text.contains("pairs of a local variable and a block"),
            "{text}"
        );
    }
}

/// A hostile ServicePolicy causes such a reload.
#[tokio::test]
async fn a_too_slow_compilation_does_not_disturb_serving() {
    let directory = directory(&[("sound.yaml", manifest("sound", &json!({})))]);
    let host = Program::serve(
        directory.path(),
        &["--watch-interval", "100ms", "--no-cache"],
    );
    host.verdict().await;
    let before = host.most_resident();
    std::fs::write(directory.path().join("slow.wasm"), slow()).expect("written");
    put(
        directory.path(),
        "slow.yaml",
        &manifest("slow", &json!({"module": {"file": "slow.wasm"}})),
    );
    let (began, mut slowest) = (Instant::now(), Duration::ZERO);
    let mut threads = vec![];
    let error = loop {
        threads.extend(host.compiling_threads());
        let asked = Instant::now();
        assert!(
            host.verdict().await.contains("told to deny"),
            "{}",
            host.log()
        );
        slowest = slowest.max(asked.elapsed());
        let status = host.status(|_| true).await;
        if let Some(error) = status["lastReload"]["error"].as_str() {
            break error.to_owned();
        }
        assert!(began.elapsed() < Duration::from_secs(150), "{}", host.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    assert!(error.contains("slow.wasm compiling it "), "{error}");
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    assert!(
        !threads.is_empty() && threads.iter().all(|number| number == "1"),
        "{threads:?}"
    );
    let after = host.most_resident();
    assert!(after < before + 16 * 1024, "{before} KiB, then {after} KiB");
}
