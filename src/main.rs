//! The program's entry point: the code is in the library, so that tests and benches can use it.

use std::process::ExitCode;

fn main() -> ExitCode {
    laioncele::main()
}
