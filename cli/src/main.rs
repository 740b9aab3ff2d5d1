//! `cutover`: the operator's command.

use clap::Parser as _;
use cutover::args::CommandLine;
use cutover::exit::Exit;
use cutover::screen::Screen;
use cutover::trouble::Trouble;
use std::process::ExitCode;

fn main() -> ExitCode {
    let line = match CommandLine::try_parse() {
        Ok(line) => line,
        Err(error) => return ExitCode::from(cutover::screen::misused(&error).code()),
    };
    // Before any thread runs: a worker may become another program.
    #[cfg(feature = "all-in-one")]
    if let cutover::args::Command::Work(args) = &line.command {
        return cutover::house::work(args);
    }
    #[cfg(feature = "all-in-one")]
    if let cutover::args::Command::Guard { folder, unit, at_boot } = &line.command {
        return cutover::house::guard(folder, unit, *at_boot);
    }
    let screen = Screen::choose(line.global.json);
    let exit = match tokio::runtime::Runtime::new() {
        Ok(runtime) => {
            let exit = runtime.block_on(cutover::run(line));
            // A blocked task must not keep the program from ending.
            runtime.shutdown_background();
            exit
        }
        Err(error) => Err(Trouble::failed("cannot start the runtime", error)),
    };
    let exit = exit.unwrap_or_else(|trouble| {
        let exit = Exit::of_trouble(&trouble);
        screen.trouble(trouble);
        exit
    });
    ExitCode::from(exit.code())
}
