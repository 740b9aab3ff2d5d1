//! Hosts by hand: `hosts N` boots them and waits, `hosts shell NAME` enters one.
#![allow(clippy::disallowed_methods, reason = "measures a boot")]

use cutover_test_hosts::{Lab, shell};
use std::process::ExitCode;
use std::time::Instant;

const USAGE: &str = "usage: hosts N                        boot h1 to hN; they end with Enter or Ctrl-C
       hosts shell NAME [COMMAND...]  enter one of them, from another terminal; where several labs run, NAME is LAB/h1";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["shell", name, command @ ..] => shell(name, command),
        [count] => match count.parse() {
            Ok(count) => hosts(count),
            Err(_) => Err(USAGE.to_owned()),
        },
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(code) => code,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// Boots so many and waits for the end of the input.
fn hosts(count: usize) -> Result<ExitCode, String> {
    let status = Lab::by_hand(|lab| {
        let begun = Instant::now();
        let hosts = lab.hosts(count);
        println!("{} in {:.1} s", lab.name(), begun.elapsed().as_secs_f32());
        let program = std::env::current_exe().unwrap();
        for host in &hosts {
            println!("{}\t{}\t{} shell {}/{}", host.name(), host.address(), program.display(), lab.name(), host.name());
        }
        println!("running; Enter or Ctrl-C ends them and leaves nothing");
        let _ = std::io::stdin().read_line(&mut String::new());
    })?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}
