//! A `numary.yaml` beside a service that has its settings from elsewhere. Measured: releases up to 1.3.1 write their whole
//! configuration into it and never rewrite it when the service moves; a command that was run with one variable less than the
//! service migrated the other storage and said "migrated".

use crate::plan::case::{Case, finding};
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};
use cutover_vocabulary::name::shown;

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (_, survey) in case.instances() {
        let Some(file) = &survey.settings_file else { continue };
        let path = shown(&file.path);
        let mut about = |code, evidence: String, remedy: String| {
            let subject = FindingSubject::Instance(survey.instance.clone());
            findings.push(finding(code, Level::Info, subject, Source::ThisHost, evidence, remedy));
        };
        if !file.overridden.is_empty() {
            let one = |(key, origin): &(String, String)| {
                format!("{} (the service has it from: {})", shown(key), shown(origin))
            };
            about(
                "settings-file-differs",
                format!(
                    "{path} says another {}; a command without the service's own settings works on another storage. Cutover \
                     passes every one of them",
                    super::listed(file.overridden.iter().map(one))
                ),
                format!("run no command of the ledger by hand; move {path} away if nothing needs it"),
            );
        }
        if let Some(why) = &file.ignored {
            about(
                "settings-file-ignored",
                format!("the ledger ignores {path}: {}. What it was meant to set is not set", shown(why)),
                "move it away; mend it only on purpose, because the service's next start would go by it".to_owned(),
            );
        }
        if file.exposed {
            about(
                "settings-file-readable",
                format!("{path} holds a connection string, and everybody on the host may read it"),
                format!("chmod 600 {path}; change the password if others use the host"),
            );
        }
    }
    findings
}

/// The pages of its codes.
pub(super) const PAGES: &[super::Page] = &[
    super::Page {
        code: "settings-file-differs",
        title: "a `numary.yaml` that leads to another storage than the service uses",
        levels: &[Level::Info],
        sources: &[Source::ThisHost],
        means: "The service has its settings from flags or its environment, which win over the file. A command that is run \
         by hand with one variable less works by the file: it was seen to migrate another storage and say `migrated`. \
         Releases up to 1.3.1 write the file by themselves, and never rewrite it when the service moves. Cutover \
         passes every storage setting to each command explicitly, so this upgrade goes where the service goes.",
        found: "The agent resolves the service's settings by the ledger's own order and compares each that leads to the \
         storage with the file: `$HOME/.numary/numary.yaml`, else `/etc/numary/numary.yaml`. Names are shown, never \
         values.",
        remedy: "Run no command of the ledger by hand during the upgrade. Move the file away when you know that nothing else \
         needs it.",
    },
    super::Page {
        code: "settings-file-ignored",
        title: "a `numary.yaml` that the ledger cannot read and passes over",
        levels: &[Level::Info],
        sources: &[Source::ThisHost],
        means: "The ledger ignores a settings file that is no YAML and starts without it, with status 0. Whatever the file \
         was meant to set is not set; the service runs on its other settings and the defaults. Mending the file would \
         change what the service does at its next start, which is in the middle of the upgrade.",
        found: "The agent reads the file as the ledger does. The evidence names the line, not its content.",
        remedy: "Decide before the upgrade: move the file away, or mend it, restart the instance and see which storage it \
         uses then.",
    },
    super::Page {
        code: "settings-file-readable",
        title: "a `numary.yaml` with a connection string that everybody may read",
        levels: &[Level::Info],
        sources: &[Source::ThisHost],
        means: "Releases up to 1.3.1 write the file with mode 0644, the database's password included.",
        found: "The agent looks at the file's mode and whether it sets `storage.postgres.conn_string`. Folders above it that \
         let nobody through are not taken into account.",
        remedy: "`chmod 600` the file, and change the password if others had access to the host.",
    },
];
