//! `bulla` without the allocator that wipes, to prove that the memory scan would notice. An example,
//! so that no release ever holds it.

#[path = "../../src/program.rs"]
mod program;

fn main() -> std::process::ExitCode {
    program::run()
}
