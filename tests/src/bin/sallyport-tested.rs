//! The program under test: `sallyport`, built as a binary of this package. So it is always as new
//! as its tests, and shares the features of their dependencies, so that nothing is compiled twice.

use std::process::ExitCode;

fn main() -> ExitCode {
    sallyport::cli::main()
}
