//! The `loader` command: what the library does, from a shell. Read `cli.rs` next; each subcommand has a file in `cli/`.

mod cli;

fn main() -> std::process::ExitCode {
    cli::run()
}
