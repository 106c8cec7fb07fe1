//! The program under test: `sallyport` itself, built together with the tests. A binary of this
//! package is always as new as its tests, and shares their dependencies' features, so that nothing
//! is compiled twice.

use std::process::ExitCode;

fn main() -> ExitCode {
    sallyport::cli::main()
}
