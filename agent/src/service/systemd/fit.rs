//! Whether Cutover can upgrade a unit at all, beyond what is read of it for every report: looked at when it is adopted, before every
//! plan and in every upgrade's Preflight.

use super::bus::{Bus, ExecEx};
use super::inventory::is_ledger;
use std::path::Path;

/// Refuses a unit of which the guard, or a look at its storage, would not tell the truth.
///
/// # Errors
/// Why, and what to do.
pub(super) async fn fit(unit: &str) -> Result<(), String> {
    let failed = |error: zbus::Error| format!("systemd does not tell about it: {error}");
    let (general, service) = Bus.unit(unit).await.map_err(failed)?;
    let (id, image, condition, pre, post, stop, stop_post) = tokio::try_join!(
        general.id(),
        service.root_image(),
        service.exec_condition_ex(),
        service.exec_start_pre_ex(),
        service.exec_start_post_ex(),
        service.exec_stop_ex(),
        service.exec_stop_post_ex(),
    )
    .map_err(failed)?;
    if id != unit {
        return Err(format!(
            "{unit} is only another name of {id}, and its drop-ins and processes go by its own: correct unit in the agent's settings"
        ));
    }
    if !image.is_empty() {
        return Err(format!("it runs in RootImage={image}, which Cutover cannot look into yet"));
    }
    let lines = [
        ("ExecCondition", condition),
        ("ExecStartPre", pre),
        ("ExecStartPost", post),
        ("ExecStop", stop),
        ("ExecStopPost", stop_post),
    ];
    for (line, commands) in lines {
        if let Some((program, argv, ..)) = commands.iter().find(|command| runs_a_ledger(command)) {
            let words = argv.iter().skip(1).map(String::as_str).collect::<Vec<_>>().join(" ");
            return Err(format!(
                "its {line}= runs the ledger ({program} {words}), which no guard keeps from working on the storage with whatever \
                 binary lies there: take that line out of the unit, an upgrade does what it is for"
            ));
        }
    }
    Ok(())
}

/// The ledger's commands that work on a storage.
const WORK: &[&str] = &["server", "storage"];

/// Programs that become the one they are given.
const HELPERS: &[&str] = &["env", "exec", "nice", "nohup", "runuser", "setpriv", "su", "sudo", "timeout"];

/// Whether a line has the ledger work on a storage, by itself or through a shell or a helper. A script that does so in its own text is
/// not seen; a line that only names the ledger's file, user or database does no harm.
fn runs_a_ledger((program, argv, ..): &ExecEx) -> bool {
    let line = std::iter::once(program).chain(argv.iter().skip(1)).cloned().collect::<Vec<_>>().join(" ");
    line.split([';', '&', '|', '(', ')', '`', '\n']).any(|command| {
        let words: Vec<&str> = command.split_whitespace().map(|word| word.trim_matches(['"', '\''])).collect();
        (0..words.len())
            .any(|at| is_the_ledger(&words, at) && words.iter().skip(at + 1).any(|word| WORK.contains(word)))
    })
}

/// Whether that word of a command is the ledger as a program. Its bare name is also what users and databases are called.
fn is_the_ledger(words: &[&str], at: usize) -> bool {
    let Some(word) = words.get(at) else { return false };
    if word.contains('/') {
        return Path::new(word).is_file() && is_ledger(Path::new(word));
    }
    let before = at.checked_sub(1).and_then(|before| words.get(before));
    let helped = words.first().and_then(|first| first.rsplit('/').next()).is_some_and(|first| HELPERS.contains(&first));
    *word == "numary" && before.is_none_or(|before| helped && !before.starts_with('-') || *before == "--")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_runs_the_ledger_is_known_also_behind_a_shell_and_the_guard_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let numary = dir.path().join("numary");
        std::fs::write(&numary, "").unwrap();
        let numary = numary.to_str().unwrap();
        let runs = |words: &[&str]| {
            let argv = words.iter().map(|word| (*word).to_owned()).collect();
            runs_a_ledger(&(words[0].to_owned(), argv, Vec::new(), 0, 0, 0, 0, 0, 0, 0))
        };
        assert!(runs(&[numary, "storage", "init"]));
        assert!(runs(&["/bin/sh", "-c", &format!("test -f x && {numary} storage upgrade main")]));
        assert!(runs(&["/bin/sh", "-c", "cd /srv;numary storage scan"]));
        assert!(runs(&["/usr/bin/timeout", "9", numary, "storage", "scan"]));
        assert!(runs(&["/bin/sh", "-c", &format!("exec \"{numary}\" --debug storage scan")]));
        assert!(runs(&["/usr/sbin/runuser", "-u", "numary", "--", numary, "storage", "upgrade", "main"]));
        assert!(runs(&["/usr/bin/sudo", "-u", "numary", "numary", "storage", "init"]));
        assert!(runs(&[numary, "--storage.driver", "postgres", "storage", "init"]));
        for harmless in [
            &["/usr/bin/chown", "numary", "storage"][..],
            &["/usr/bin/install", "-d", "-o", "numary", "-g", "numary", "/var/lib/storage"],
            &["/usr/bin/pg_isready", "-U", "numary", "-d", "numary"],
            &["/bin/sh", "-c", "until pg_isready -U numary; do sleep 1; done"],
            &["/usr/bin/test", "-x", numary],
            &["/usr/bin/pkill", "-x", "numary"],
            &[numary, "version"],
        ] {
            assert!(!runs(harmless), "{harmless:?}");
        }
        let instance = dir.path().join("instances/numary");
        std::fs::create_dir_all(&instance).unwrap();
        assert!(!runs(&["/usr/bin/cutover-agent", "guard", instance.to_str().unwrap(), "numary.service"]));
    }
}
