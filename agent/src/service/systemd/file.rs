//! What a unit's file says of what it starts, without systemd (man systemd.syntax; man systemd.service, "Command lines").

/// The values of the `ExecStart=` lines of a unit's file, in their order. An empty one takes those before it away.
pub(super) fn starts(text: &str) -> Vec<String> {
    let mut section = "";
    let mut values = Vec::new();
    // Comments are no lines at all: one that ends in a backslash does not go on.
    let is_comment = |line: &&str| line.trim_start().starts_with(['#', ';']);
    let kept: String = text.lines().filter(|line| !is_comment(line)).map(|line| format!("{line}\n")).collect();
    let joined = kept.replace("\\\n", " ");
    for line in joined.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line;
        }
        let value = line.strip_prefix("ExecStart").and_then(|rest| rest.trim_start().strip_prefix('='));
        values.extend(value.filter(|_| section == "[Service]").map(|value| value.trim().to_owned()));
    }
    values
}

/// The program of such a value, as it is written there. Empty where there is none.
pub(super) fn program(value: &str) -> &str {
    let bare = value.trim_start_matches(['-', ':', '+', '!', '@', '|']);
    match bare.strip_prefix('"') {
        Some(rest) => rest.split('"').next(),
        None => bare.split_whitespace().next(),
    }
    .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_has_started_is_found_in_each_of_its_forms() {
        let text = "[Service]\n# former \\\nExecStartPre=/bin/x\nExecStart=\nExecStart = -:\"/opt/a b/numary\" server \\\n  start\n\
                    ExecStart=/usr/bin/numary %i\n[Install]\nExecStart=/elsewhere\n";
        let starts = starts(text);
        let programs: Vec<&str> = starts.iter().map(|value| program(value)).collect();
        assert_eq!(programs, ["", "/opt/a b/numary", "/usr/bin/numary"]);
    }
}
