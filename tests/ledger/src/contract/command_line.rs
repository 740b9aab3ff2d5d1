//! The command line: texts to the byte, exit statuses, configuration.

use super::subject::{Home, Number};
use super::{Bench, Check, Step, expect, only_if, same};

pub(super) const CHECKS: &[Check] = &[
    Check { name: "version_is_three_lines_each_with_a_space_at_its_end", look: version },
    Check { name: "a_missing_configuration_file_is_announced_on_stdout", look: announced },
    Check { name: "a_broken_configuration_file_is_ignored", look: broken_file },
    Check { name: "an_unknown_flag_ends_1_with_the_usage_and_the_message_twice", look: unknown_flag },
    Check { name: "flags_of_1_3_1_are_unknown_later", look: dropped_flags },
    Check { name: "an_unknown_top_level_command_ends_1_without_usage", look: unknown_command },
    Check { name: "an_unknown_storage_command_prints_the_usage_and_ends_0", look: unknown_storage_command },
    Check { name: "storage_commands_that_the_release_lacks_print_the_usage_and_end_0", look: lacking_commands },
    Check { name: "storage_help_names_the_commands_there_are", look: storage_help },
    Check { name: "upgrade_takes_exactly_one_name", look: one_name },
    Check { name: "upgrade_refuses_the_reserved_name", look: reserved },
    Check { name: "other_arguments_are_ignored", look: ignored_arguments },
    Check { name: "version_as_a_flag_is_unknown", look: version_flag },
    Check { name: "every_command_creates_the_storage_folder_with_mode_0700", look: creates_folder },
    Check { name: "a_storage_folder_that_cannot_be_made_ends_1", look: impossible_folder },
    Check { name: "flags_win_over_environment_over_file_over_default", look: precedence },
    Check { name: "of_a_repeated_flag_the_last_wins", look: repeated },
    Check { name: "an_empty_variable_counts_as_unset", look: empty_variable },
    Check { name: "keys_of_the_file_may_be_nested_or_dotted", look: dotted },
    Check { name: "an_unknown_driver_panics_with_exit_2", look: unknown_driver },
];

fn version(bench: &Bench) -> Step {
    let ran = bench.subject.run(&bench.home()?, &["version"])?;
    ran.ends(0)?;
    let lines: Vec<&str> = ran.out.split('\n').filter(|line| !line.starts_with("loading config file")).collect();
    same(lines.first().copied(), Some(format!("Version: {} ", bench.subject.version).as_str()))?;
    let tells =
        |line: usize, start: &str| lines.get(line).is_some_and(|line| line.starts_with(start) && line.ends_with(' '));
    expect(tells(1, "Date: ") && tells(2, "Commit: "), "`Date: … ` and `Commit: … `", format!("{lines:?}"))
}

fn announces(number: Number) -> bool {
    (Number(1, 3, 2)..Number(1, 4, 0)).contains(&number) || number >= Number(1, 4, 3)
}

fn announced(bench: &Bench) -> Step {
    let home = bench.home()?;
    let ran = bench.subject.run(&home, &["version"])?;
    let folder = home.path("home/.numary");
    let line =
        format!("loading config file: Config File \"numary\" Not Found in \"[{} /etc/numary]\"\n", folder.display());
    let says = ran.out.starts_with(&line);
    expect(says == announces(bench.subject.number), format!("announced: {}", announces(bench.subject.number)), &ran.out)
}

fn broken_file(bench: &Bench) -> Step {
    let home = bench.home()?;
    home.write("home/.numary/numary.yaml", "storage: [unclosed\n\t: {")?;
    let ran = bench.subject.run(&home, &["version"])?;
    ran.ends(0)?;
    same(ran.out.contains("loading config file: "), announces(bench.subject.number))
}

fn unknown_flag(bench: &Bench) -> Step {
    let ran = bench.subject.run(&bench.home()?, &["server", "start", "--no-such-flag"])?;
    ran.ends(1)?;
    let lines: Vec<&str> = ran.err.lines().collect();
    same(lines.first().copied(), Some("Error: unknown flag: --no-such-flag"))?;
    same(lines.last().copied(), Some("unknown flag: --no-such-flag"))?;
    same(lines.get(1).copied(), Some("Usage:"))?;
    let range = if bench.subject.has_storage_commands() { 50..=70 } else { 30..=70 };
    expect(range.contains(&lines.len()), format!("{range:?} lines"), lines.len())
}

fn dropped_flags(bench: &Bench) -> Step {
    for flag in ["--persist-config=false", "--ledgers=a,b"] {
        let home = bench.home()?;
        if bench.subject.has_storage_commands() {
            let ran = bench.subject.run(&home, &["server", "start", flag])?;
            ran.ends(1)?;
            let name = flag.split('=').next().unwrap_or_default();
            ran.complains(&format!("Error: unknown flag: {name}\n"))?;
        } else {
            bench.subject.serve(&home, &[flag])?.stop()?;
        }
    }
    Ok(())
}

fn unknown_command(bench: &Bench) -> Step {
    let ran = bench.subject.run(&bench.home()?, &["bogus"])?;
    ran.ends(1)?;
    ran.complains("unknown command \"bogus\" for \"numary\"")?;
    ran.complains("Run 'numary --help' for usage.")?;
    expect(ran.err.lines().count() < 10, "no usage", format!("{} lines", ran.err.lines().count()))
}

fn unknown_storage_command(bench: &Bench) -> Step {
    let ran = bench.subject.run(&bench.home()?, &["storage", "bogus"])?;
    ran.ends(0)?;
    ran.prints("Usage:\n  numary storage")
}

fn lacking_commands(bench: &Bench) -> Step {
    only_if(!bench.subject.has_storage_commands())?;
    for arguments in [["storage", "scan"].as_slice(), &["storage", "list"], &["storage", "upgrade", "x"]] {
        let home = bench.home()?;
        let ran = bench.subject.run(&home, arguments)?;
        ran.ends(0)?;
        ran.prints("Usage:\n  numary storage")?;
        expect(!home.has_ledger("x")?, "no ledger `x`", "one")?;
    }
    Ok(())
}

fn storage_help(bench: &Bench) -> Step {
    let ran = bench.subject.run(&bench.home()?, &["storage", "--help"])?;
    ran.ends(0)?;
    let has = |name: &str| ran.out.lines().any(|line| line.split_whitespace().next() == Some(name));
    expect(has("init"), "`init`", &ran.out)?;
    for name in ["scan", "list", "upgrade"] {
        expect(has(name) == bench.subject.has_storage_commands(), format!("`{name}` only from 1.3.2 on"), &ran.out)?;
    }
    Ok(())
}

fn one_name(bench: &Bench) -> Step {
    only_if(bench.subject.has_storage_commands())?;
    let ran = bench.subject.run(&bench.home()?, &["storage", "upgrade"])?;
    ran.ends(1)?;
    ran.complains("Error: accepts 1 arg(s), received 0\n")?;
    let ran = bench.subject.run(&bench.home()?, &["storage", "upgrade", "a", "b"])?;
    ran.ends(1)?;
    ran.complains("Error: accepts 1 arg(s), received 2\n")
}

fn reserved(bench: &Bench) -> Step {
    only_if(bench.subject.has_storage_commands())?;
    let ran = bench.subject.run(&bench.home()?, &["storage", "upgrade", "_system"])?;
    ran.ends(1)?;
    ran.complains("reserved name")
}

fn ignored_arguments(bench: &Bench) -> Step {
    only_if(bench.subject.has_storage_commands())?;
    let ran = bench.subject.run(&bench.home()?, &["storage", "list", "extra"])?;
    ran.ends(0)?;
    ran.prints("No ledger found.\n")
}

fn version_flag(bench: &Bench) -> Step {
    let ran = bench.subject.run(&bench.home()?, &["--version"])?;
    ran.ends(1)?;
    ran.complains("unknown flag: --version")
}

fn creates_folder(bench: &Bench) -> Step {
    use std::os::unix::fs::PermissionsExt;
    let home = bench.home()?;
    bench.subject.run(&home, &["version"])?.ends(0)?;
    let mode = std::fs::metadata(home.data()).map(|data| data.permissions().mode() & 0o777);
    expect(mode.as_ref().is_ok_and(|mode| *mode == 0o700), "mode 0700", format!("{mode:?}"))
}

fn impossible_folder(bench: &Bench) -> Step {
    let home = bench.home()?;
    home.write("file", "")?;
    let dir = home.path("file/data").display().to_string();
    let ran = bench.subject.run(&home, &["version", "--storage.dir", &dir])?;
    ran.ends(1)?;
    ran.complains("Error: creating storage directory: mkdir ")
}

/// Which of these folders the command created tells which setting won.
fn winner(bench: &Bench, home: &Home, arguments: &[&str], environment: &[(&str, &str)]) -> Step<Vec<String>> {
    let mut all = vec!["version"];
    all.extend_from_slice(arguments);
    bench.subject.run_with(home, &all, environment)?.ends(0)?;
    let names = ["by_file", "by_env", "by_flag", "by_flag2", "home/.numary/data"];
    Ok(names.iter().filter(|name| home.path(name).exists()).map(|name| (*name).to_owned()).collect())
}

fn precedence(bench: &Bench) -> Step {
    let file = |home: &Home| format!("storage:\n  dir: {}\n", home.path("by_file").display());
    for (with_file, with_env, with_flag, expected) in [
        (false, false, false, "home/.numary/data"),
        (true, false, false, "by_file"),
        (true, true, false, "by_env"),
        (true, true, true, "by_flag"),
    ] {
        let home = bench.home()?;
        if with_file {
            home.write("home/.numary/numary.yaml", &file(&home))?;
        }
        let (flag, env) = (home.path("by_flag").display().to_string(), home.path("by_env").display().to_string());
        let arguments: &[&str] = if with_flag { &["--storage.dir", &flag] } else { &[] };
        let environment: &[(&str, &str)] = if with_env { &[("NUMARY_STORAGE_DIR", &env)] } else { &[] };
        same(winner(bench, &home, arguments, environment)?, vec![expected.to_owned()])?;
    }
    Ok(())
}

fn repeated(bench: &Bench) -> Step {
    let home = bench.home()?;
    let one = format!("--storage.dir={}", home.path("by_flag").display());
    let two = format!("--storage.dir={}", home.path("by_flag2").display());
    same(winner(bench, &home, &[&one, &two], &[])?, vec!["by_flag2".to_owned()])
}

fn empty_variable(bench: &Bench) -> Step {
    let home = bench.home()?;
    same(winner(bench, &home, &[], &[("NUMARY_STORAGE_DIR", "")])?, vec!["home/.numary/data".to_owned()])
}

fn dotted(bench: &Bench) -> Step {
    let home = bench.home()?;
    home.write("home/.numary/numary.yaml", &format!("storage.dir: {}\n", home.path("by_file").display()))?;
    same(winner(bench, &home, &[], &[])?, vec!["by_file".to_owned()])
}

fn unknown_driver(bench: &Bench) -> Step {
    only_if(bench.subject.has_storage_commands())?;
    let ran = bench.subject.run(&bench.home()?, &["storage", "list", "--storage.driver=bogus"])?;
    ran.ends(2)?;
    ran.complains("Unsupported driver: bogus")
}
