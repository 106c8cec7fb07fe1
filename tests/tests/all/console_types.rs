//! The messages of the playground in TypeScript, made of those of its engine. `WRITE_TYPES=1`
//! writes the file.

use crate::host::root;
use console_engine::typescript;

const FILE: &str = "webhook-host/console/src/page/messages.ts";

#[test]
fn the_types_of_the_playground_are_current() {
    let path = root().join(FILE);
    let made = typescript::declarations();
    if std::env::var_os("WRITE_TYPES").is_some() {
        std::fs::write(&path, &made).expect("it can be written");
        return;
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == made,
        "{FILE} is not current; run `WRITE_TYPES=1 cargo test --workspace --test all \
         console_types` and look at the difference"
    );
}
