//! `sallyport`: see `sallyport --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    sallyport::cli::main()
}
