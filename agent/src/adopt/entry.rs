//! An `[[instance]]` in the text of a settings file: added at the end, taken out again, everything else left to the letter.

use cutover_vocabulary::{AgentName, DeploymentName, InstanceName};
use std::path::Path;
use toml_edit::{DocumentMut, Value};

/// What adoption writes of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: InstanceName,
    pub(super) deployment: DeploymentName,
    pub(super) unit: String,
    pub(super) observe_only: bool,
}

impl Entry {
    /// Its lines. The first ends the line before, whether or not that had an end: so taking the block out again gives what was
    /// there, to the letter.
    pub(super) fn block(&self) -> String {
        let quoted = |text: &str| Value::from(text).to_string();
        let mut text = format!(
            "\n# Adopted by `cutover-agent adopt`. Command, arguments, environment and user are read from the unit.\n[[instance]]\n\
             name = {}\ndeployment = {}\nmanager = \"systemd\"\nunit = {}\n",
            quoted(self.name.as_str()),
            quoted(self.deployment.as_str()),
            quoted(&self.unit),
        );
        if self.observe_only {
            text.push_str("# Reported and surveyed; every order that would change something of it is refused.\nobserve_only = true\n");
        }
        text
    }
}

/// A settings file that names no instance yet.
pub(super) fn new_file(agent: &AgentName, coordinators: &str, state: &Path) -> String {
    let quoted = |text: &str| Value::from(text).to_string();
    let coordinators = match coordinators.split(',').collect::<Vec<_>>()[..] {
        [one] => quoted(one),
        ref several => several.iter().copied().collect::<toml_edit::Array>().to_string(),
    };
    format!(
        "# Settings of Cutover's agent on this host; `cutover explain agent` has every key.\nname = {}\ncoordinator = {}\nstate = {}\n",
        quoted(agent.as_str()),
        coordinators,
        quoted(&state.to_string_lossy())
    )
}

/// The text with these entries at its end.
///
/// # Errors
/// When the text is no TOML, or has its instances in a form that cannot be added to.
pub(super) fn with(text: &str, entries: &[Entry]) -> Result<String, String> {
    let document: DocumentMut = parsed(text)?;
    if document.get("instance").is_some_and(|item| !item.is_array_of_tables()) {
        return Err("its instances are one list, `instance = [...]`; write each as a table of its own, `[[instance]]`"
            .to_owned());
    }
    Ok(entries.iter().fold(text.to_owned(), |text, entry| text + &entry.block()))
}

/// The text without that entry. One that stands as it was written is cut out, so that the rest is what it was before; one that
/// a person changed is taken out with its comments.
///
/// # Errors
/// When the text is no TOML, or has no such entry.
pub(super) fn without(text: &str, entry: &Entry) -> Result<String, String> {
    let block = entry.block();
    if let [at] = text.match_indices(&block).map(|(at, _)| at).collect::<Vec<_>>()[..] {
        let after = &text[at + block.len()..];
        let next = after.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
        // Keys that follow are this instance's too.
        if next.is_none_or(|line| line.starts_with('[')) {
            return Ok(format!("{}{after}", &text[..at]));
        }
    }
    let mut document: DocumentMut = parsed(text)?;
    let missing = || format!("it has no [[instance]] with unit = {:?}", entry.unit);
    let tables = document.get_mut("instance").and_then(|item| item.as_array_of_tables_mut()).ok_or_else(missing)?;
    let at = tables.iter().position(|table| table.get("unit").and_then(|unit| unit.as_str()) == Some(&entry.unit));
    tables.remove(at.ok_or_else(missing)?);
    if tables.is_empty() {
        document.remove("instance");
    }
    Ok(document.to_string())
}

/// The parser's own message may quote a line, which may hold a secret.
fn parsed(text: &str) -> Result<DocumentMut, String> {
    text.parse().map_err(|error: toml_edit::TomlError| {
        let at = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("line {line} is no TOML")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    fn entry(unit: &str) -> Entry {
        Entry {
            name: format!("h1-{}", unit.trim_end_matches(".service")).replace('\\', "-").parse().unwrap(),
            deployment: "prod".parse().unwrap(),
            unit: unit.to_owned(),
            observe_only: false,
        }
    }

    const HEAD: &str =
        "name = \"h1\" # of this host\ncoordinator = 'unix:/run/c.sock'\n\nstate = \"/var/lib/cutover-agent\"\n";

    #[test]
    fn what_was_added_is_settings_and_taken_out_again_leaves_the_file_as_it_was_to_the_letter() {
        for before in [
            HEAD.to_owned(),
            HEAD.trim_end().to_owned(),
            format!("{HEAD}[releases]\nplace = \"/srv/r\"\n\n# the end, without a line's end"),
            HEAD.replace('\n', "\r\n"),
            format!(
                "{HEAD}\n\n[[instance]]\nname = \"x\"\ndeployment = \"p\"\nmanager = \"process\"\ncommand = \"/x\"\n\n\n"
            ),
        ] {
            let both = [entry("numary.service"), entry("numary@a\\x2db.service")];
            let after = with(&before, &both).unwrap();
            assert!(after.starts_with(&before));
            let settings = Settings::parse(&after, Path::new("agent.toml")).unwrap();
            let units: Vec<_> = settings.instances.iter().filter_map(|instance| instance.unit.clone()).collect();
            assert_eq!(units, both.clone().map(|entry| entry.unit));
            let one_left = without(&after, &both[0]).unwrap();
            assert_eq!(one_left, with(&before, &both[1..]).unwrap());
            assert_eq!(without(&one_left, &both[1]).unwrap(), before);
        }
    }

    #[test]
    fn an_entry_that_a_person_changed_goes_whole_and_what_stands_around_it_stays() {
        let hooked = format!("{HEAD}{}out_of_rotation = [\"x\"]\n", entry("a.service").block());
        let whole = with(&hooked, &[entry("b.service")]).unwrap() + "\n# the last word\n";
        let left = without(&whole, &entry("a.service")).unwrap();
        assert!(left.starts_with(HEAD) && left.ends_with("# the last word\n"), "{left}");
        assert!(!left.contains("out_of_rotation") && !left.contains("a.service"), "{left}");
        let settings = Settings::parse(&left, Path::new("agent.toml")).unwrap();
        assert_eq!(settings.instances.len(), 1);
        assert!(without(&left, &entry("a.service")).unwrap_err().contains("a.service"));
    }

    #[test]
    fn a_file_that_is_no_toml_or_lists_its_instances_is_refused_without_a_word_of_it() {
        let said = with("name = \"h\"\nsecret hunter22", &[]).unwrap_err();
        assert!(said.contains("line 2") && !said.contains("hunter22"), "{said}");
        assert!(with("instance = []", &[]).unwrap_err().contains("[[instance]]"));
    }

    #[test]
    fn a_new_file_is_whole() {
        let text = new_file(&"h1".parse().unwrap(), "unix:/run/c.sock", Path::new("/var/lib/cutover-agent"));
        let observed = Entry { observe_only: true, ..entry("numary.service") };
        let settings = Settings::parse(&with(&text, &[observed]).unwrap(), Path::new("agent.toml")).unwrap();
        assert!(settings.instances[0].observe_only);
        let text =
            new_file(&"h1".parse().unwrap(), "unix:/run/c.sock,https://c2:7443", Path::new("/var/lib/cutover-agent"));
        assert!(text.contains("coordinator = ["), "{text}");
    }
}
