//! The binary: everything is in the library, behind `cli`.

fn main() -> std::process::ExitCode {
    deputy::cli::main()
}
