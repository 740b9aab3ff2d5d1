//! The ledger's command line, as far as storage settings go (the rules of Go's pflag).

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
