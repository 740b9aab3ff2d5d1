//! `pack-release DIR VERSION… [--binary PATH]`: packs the simulator as release files. Without `--binary` it takes the `numary`
//! beside itself.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command that talks to the person who ran it")]

use cutover_ledger_simulator::pack::pack;
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let mut binary = None;
    let mut rest = Vec::new();
    while let Some(argument) = arguments.next() {
        if argument == "--binary" {
            binary = arguments.next().map(PathBuf::from);
        } else {
            rest.push(argument);
        }
    }
    let beside = std::env::current_exe().ok().map(|exe| exe.with_file_name("numary"));
    let (Some((dir, versions)), Some(binary)) = (rest.split_first(), binary.or(beside)) else {
        eprintln!("usage: pack-release DIR VERSION... [--binary PATH]");
        return ExitCode::from(2);
    };
    for version in versions {
        match pack(&binary, version, &PathBuf::from(dir)) {
            Ok(packed) => println!("{}  {}", packed.archive_digest, packed.archive.display()),
            Err(error) => {
                eprintln!("pack-release: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
