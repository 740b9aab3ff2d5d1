//! An agent's settings, and what they name on this host.

use super::{Check, Verdict};
use cutover_agent::needs;
use cutover_agent::settings::{Place, Settings};
use cutover_proto::transport::EXPIRES_SOON_DAYS;
use rustix::fs::{Access, access};
use std::os::unix::fs::PermissionsExt as _;

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "settings",
        why: "the agent does not start with a key that it does not know",
        look: |host| {
            let of = |settings: &Result<Settings, String>| match settings {
                Ok(settings) => Verdict::well(format!(
                    "{}: agent {} with {} instance(s)",
                    settings.file.display(),
                    settings.name,
                    settings.instances.len()
                )),
                Err(why) => Verdict::missing(why, "correct it; `cutover explain agent` has every key with an example"),
            };
            host.settings.iter().map(of).collect()
        },
    },
    Check {
        name: "state directory",
        why: "the agent's journal, releases and recovery points lie there, and nobody else may look into them",
        look: |host| host.agent().map(state).into_iter().collect(),
    },
    Check {
        name: "certificates",
        why: "the coordinator lets an agent in on the name in its certificate, and nobody with one that has expired",
        look: |host| host.agent().map(certificates).unwrap_or_default(),
    },
    Check {
        name: "processes of others",
        why: "a process that cannot be looked into keeps a storage on files from being proved quiet",
        look: |host| {
            let Some(settings) = host.agent() else { return Vec::new() };
            let remedy = "run the agent as root, or name the users who never open a ledger's storage in `unseen_users`";
            vec![if rustix::process::geteuid().is_root() {
                Verdict::well("root sees them all")
            } else if needs::hidden_from_us() {
                Verdict::warning("/proc is mounted with hidepid, so those of other users are not even listed", remedy)
            } else if settings.unseen_users.is_empty() {
                Verdict::warning("this user is not root, and cannot look into those of other users", remedy)
            } else {
                Verdict::well(format!("{} user(s) are declared in `unseen_users`", settings.unseen_users.len()))
            }]
        },
    },
    Check {
        name: "releases",
        why: "the target release is taken from there, archive and checksum file",
        look: |host| {
            let Some(settings) = host.agent() else { return Vec::new() };
            let place = match &settings.releases.place {
                Place::Folder(folder) => folder,
                Place::Mirror(address) => return vec![Verdict::well(format!("{address}, asked when a plan is made"))],
            };
            vec![match std::fs::read_dir(place) {
                Ok(_) => Verdict::well(place.display().to_string()),
                Err(error) => Verdict::missing(
                    format!("{}: {error}", place.display()),
                    "make that folder and put a folder vVERSION for each release into it, or name another one with \
                     `releases.place`",
                ),
            }]
        },
    },
];

/// One verdict for each certificate of the three files; one alone where the files cannot be used.
fn certificates(settings: &Settings) -> Vec<Verdict> {
    let Some(tls) = &settings.tls else { return Vec::new() };
    let all = match tls.files().certificates() {
        Ok(all) => all,
        Err(error) => return vec![Verdict::missing(error.to_string(), "see to it, then run doctor again")],
    };
    let mut verdicts = Vec::new();
    if let Some((path, own)) = all.first()
        && !own.names.have(settings.name.as_str())
    {
        verdicts.push(Verdict::missing(
            format!("{} is for {}, and this agent's name is {}", path.display(), own.names, settings.name),
            "have one issued that has the agent's name among its subject alternative names (DNS or URI), or correct `name`",
        ));
    }
    let now = cutover_agent::machine::now();
    verdicts.extend(all.iter().map(|(path, certificate)| {
        let (days, path, until) = (certificate.days_left(now), path.display(), certificate.not_after);
        match days {
            EXPIRES_SOON_DAYS.. => Verdict::well(format!("{path} is valid for {days} days")),
            0.. => Verdict::warning(
                format!("{path} is valid for {days} day(s) only, until {until}"),
                "have a new one issued and put it in its place; no restart is needed",
            ),
            _ => {
                Verdict::warning(format!("{path} expired on {until}"), "have a new one issued and put it in its place")
            }
        }
    }));
    verdicts
}

fn state(settings: &Settings) -> Verdict {
    let folder = &settings.state;
    let shown = folder.display();
    let Ok(data) = std::fs::metadata(folder) else {
        let above = folder.ancestors().find(|folder| folder.exists());
        return match above.map(|above| access(above, Access::WRITE_OK | Access::EXEC_OK)) {
            Some(Ok(())) => Verdict::well(format!("{shown} will be made")),
            Some(Err(_)) | None => Verdict::missing(
                format!("{shown} does not exist, and this user may not make it"),
                "make it as root with mode 0700 for the user that the agent runs as, and run doctor as that user",
            ),
        };
    };
    if !data.is_dir() {
        return Verdict::missing(format!("{shown} is no directory"), "move it away, or name another one with `state`");
    }
    if data.permissions().mode() & 0o077 != 0 {
        return Verdict::missing(
            format!("{shown} may be entered by others (mode {:04o})", data.permissions().mode() & 0o7777),
            format!("chmod 0700 {shown}"),
        );
    }
    match access(folder, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => Verdict::well(shown.to_string()),
        Err(error) => Verdict::missing(
            format!("{shown} cannot be used by this user: {error}"),
            "run doctor as the user that the agent runs as; or give that user the directory",
        ),
    }
}
