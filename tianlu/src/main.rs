//! The command `tianlu`; all of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    tianlu::cli::main()
}
