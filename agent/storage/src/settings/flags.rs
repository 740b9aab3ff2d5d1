//! The ledger's command line, as far as storage settings go (the rules of Go's pflag).

use super::Key;
use secrecy::{ExposeSecret as _, SecretString};

/// The value of the last `--name value` or `--name=value`; nothing behind a `--` counts.
///
/// A flag that takes a value takes the next argument whatever it looks like. We only know that of the one we look for: the
/// value of another flag that looks like it (`--other --storage.dir`) would be misread, which no real unit has.
pub fn last(args: &[SecretString], name: &str) -> Option<SecretString> {
    let mut found = None;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let text = arg.expose_secret();
        if text == "--" {
            break;
        }
        let Some(rest) = text.strip_prefix("--").and_then(|rest| rest.strip_prefix(name)) else { continue };
        if rest.is_empty() {
            // Without a value the ledger itself refuses to start.
            found = args.next().cloned().or(found);
        } else if let Some(value) = rest.strip_prefix('=') {
            found = Some(SecretString::from(value));
        }
    }
    found
}

/// The arguments without those that set one of `keys`, with their values.
pub fn without(args: &[SecretString], keys: &[Key]) -> Vec<SecretString> {
    let mut kept = Vec::new();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let text = arg.expose_secret();
        let flag = text.strip_prefix("--").filter(|flag| !flag.is_empty());
        let (name, value) = match flag.and_then(|flag| flag.split_once('=')) {
            Some((name, value)) => (Some(name), Some(value)),
            None => (flag, None),
        };
        if !keys.iter().any(|key| Some(key.name()) == name) {
            kept.push(arg.clone());
            if text == "--" {
                kept.extend(rest.cloned());
                break;
            }
        } else if value.is_none() {
            // Its value is the next argument, whatever it looks like.
            let _ = rest.next();
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_taken_out_of_arguments_in_both_spellings_and_nothing_else_is() {
        let args = [
            "server",
            "start",
            "--storage.postgres.conn_string",
            "secret",
            "--storage.driver=postgres",
            "--storage.postgres.conn_string=secret",
            "--",
            "--storage.postgres.conn_string=kept",
        ];
        let args: Vec<SecretString> = args.into_iter().map(SecretString::from).collect();
        let left = without(&args, &[Key::ConnString]);
        let left: Vec<&str> = left.iter().map(|arg| arg.expose_secret()).collect();
        assert_eq!(left, ["server", "start", "--storage.driver=postgres", "--", "--storage.postgres.conn_string=kept"]);
        assert_eq!(without(&args, &[]).len(), args.len());
    }
}
