//! The `cognate` program: parses, calls the library, prints.

fn main() -> std::process::ExitCode {
    cognate::cli::run(std::env::args_os())
}
