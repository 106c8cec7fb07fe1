//! The messages between the page and the engine, as TypeScript.

use crate::messages::{
    Answer, AppliedService, Cluster, Configuration, Input, LoadedPolicy, Person, Problem, Recorded,
    Request, TypeAnswer,
};
use sallyport_core::inventory::{EnvironmentData, PortRangeData};
use sallyport_core::report::check::{Finding, Level, Subject};
use ts_rs::{Config, TS};

const HEAD: &str = "\
// The messages between the page and the engine. Made of the types in engine/src/messages.rs; not to
// be changed. `WRITE_TYPES=1 cargo test --workspace --test all console_types` makes it anew.

import type { Service } from './service';
";

/// Returns the module `src/page/messages.ts`.
pub fn declarations() -> String {
    let declared = [
        declaration::<Request>(),
        declaration::<Person>(),
        declaration::<Recorded>(),
        declaration::<Answer>(),
        declaration::<Problem>(),
        declaration::<Input>(),
        declaration::<Subject>(),
        declaration::<Finding>(),
        declaration::<Level>(),
        declaration::<AppliedService>(),
        declaration::<TypeAnswer>(),
        declaration::<LoadedPolicy>(),
        declaration::<Configuration>(),
        declaration::<Cluster>(),
        declaration::<EnvironmentData>(),
        declaration::<PortRangeData>(),
    ];
    format!("{HEAD}\n{}", declared.join("\n"))
}

/// Declares a type. ts-rs puts each comment and each field on lines of their own, and indents none.
fn declaration<T: TS>() -> String {
    // JSON has no bigint.
    let config = Config::new().with_large_int("number");
    let docs = T::docs().unwrap_or_default();
    let text = format!("{docs}export {}", T::decl(&config));
    let text = text
        .replace("/**\n * ", "/** ")
        .replace("\n */", " */")
        .replace(", };", ",\n};");
    let mut indented = String::new();
    let mut is_inside = false;
    for line in text.lines().map(str::trim_end) {
        if is_inside && line != "};" {
            indented.push_str("  ");
        }
        indented.push_str(line);
        indented.push('\n');
        is_inside |= line.ends_with('{');
    }
    indented
}
