//! The closed copy of a unit: everything that the unit has (user, limits, sandbox, environment), as a unit of its own in `/run`,
//! with the target's binary and one more flag, and nothing that tells others that it runs.

use super::bus::Bus;
use super::guard;
use super::release;
use super::words::quoted;
use crate::files;
use std::path::{Path, PathBuf};

/// Where copies lie: gone with a reboot.
const PLACE: &str = "/run/systemd/system";

/// What the copy is called. Of `numary@eu.service` it keeps the part after `@`, which its settings may use as `%i`.
pub(super) fn name(unit: &str) -> String {
    format!("cutover-closed-{unit}")
}

/// The copy's file.
pub(super) fn path(unit: &str) -> PathBuf {
    Path::new(PLACE).join(name(unit))
}

/// Makes the copy and has systemd read it.
pub(super) async fn put(unit: &str, program: &Path, extra: &[String]) -> Result<(), String> {
    let failed = |error: zbus::Error| format!("systemd does not tell what it is made of: {error}");
    let (general, service) = Bus.unit(unit).await.map_err(failed)?;
    let mut text = String::from("# A closed copy that Cutover made to verify a release. It goes by itself.\n");
    let drop_ins = general.drop_in_paths().await.map_err(failed)?;
    let ours = [guard::path(unit), release::path(unit)];
    let fragment = general.fragment_path().await.map_err(failed)?;
    for file in std::iter::once(fragment).chain(drop_ins).map(PathBuf::from) {
        // What is there for every service holds for the copy by itself.
        if ours.contains(&file) || file.parent().is_some_and(|folder| folder.ends_with("service.d")) {
            continue;
        }
        let content =
            std::fs::read_to_string(&file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
        text += &format!("\n# {}\n{content}\n", file.display());
    }
    let commands = service.exec_start_ex().await.map_err(failed)?;
    let [(_, argv, flags, ..)] = &commands[..] else {
        return Err(format!("it has {} commands in ExecStart=, and a ledger's unit has one", commands.len()));
    };
    text += &format!(
        "\n# By Cutover: the target, one more flag, no announcement to anybody, no second try.\n\
         [Unit]\nOnFailure=\nOnSuccess=\n\n\
         [Service]\nExecStart=\nExecStart={}\nExecStartPost=\nExecStop=\nExecStopPost=\nRestart=no\n",
        release::command_line(program, argv, flags, extra)
    );
    write(&path(unit), &text).map_err(|error| error.to_string())?;
    reload().await
}

/// Changes a drop-in of a unit and has systemd read it. Half done, the unit's own folder says that systemd is to read its files
/// again, and [`reload_if_due`] sees to it.
pub(super) async fn change(instance_dir: &Path, drop_in: &Path, text: Option<&str>) -> Result<(), String> {
    let words = |error: files::FileError| error.to_string();
    files::folder(instance_dir).map_err(words)?;
    files::write(&due(instance_dir), b"").map_err(words)?;
    match text {
        Some(text) => write(drop_in, text).map_err(words)?,
        None => files::remove(drop_in).map_err(words)?,
    }
    reload_if_due(instance_dir).await
}

/// Has systemd read its files again where a change of ours was cut short.
pub(super) async fn reload_if_due(instance_dir: &Path) -> Result<(), String> {
    let due = due(instance_dir);
    if !due.exists() {
        return Ok(());
    }
    reload().await?;
    files::remove(&due).map_err(|error| error.to_string())
}

fn due(instance_dir: &Path) -> PathBuf {
    instance_dir.join("reload-due")
}

/// Removes the copy, if there is one, and has systemd forget it.
pub(super) async fn take(unit: &str) -> Result<(), String> {
    let path = path(unit);
    if !path.exists() {
        return Ok(());
    }
    files::remove(&path).map_err(|error| error.to_string())?;
    reload().await
}

/// Has systemd read its files again.
pub(super) async fn reload() -> Result<(), String> {
    let failed = |error: zbus::Error| format!("systemd does not read its files again: {error}");
    Bus.manager().await.map_err(failed)?.reload().await.map_err(failed)
}

/// Writes a file of systemd's, readable for everybody, whole or not at all.
pub(super) fn write(path: &Path, text: &str) -> Result<(), files::FileError> {
    use std::os::unix::fs::PermissionsExt as _;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(files::io_error("create", folder))?;
    }
    let temporary = files::temporary_beside(path);
    files::write(&temporary, text.as_bytes())?;
    std::fs::set_permissions(&temporary, std::fs::Permissions::from_mode(0o644))
        .map_err(files::io_error("open for everybody", &temporary))?;
    std::fs::rename(&temporary, path).map_err(files::io_error("rename into place", path))?;
    files::sync_folder_of(path)
}

/// A program with its arguments as a unit file has it; `argv` has the program's own name first.
pub(super) fn line(prefix: &str, program: &Path, argv: impl IntoIterator<Item = String>) -> String {
    let words = argv.into_iter().map(|word| quoted(&word));
    let program = quoted(&program.to_string_lossy());
    std::iter::once(format!("{prefix}{program}")).chain(words).collect::<Vec<_>>().join(" ")
}
