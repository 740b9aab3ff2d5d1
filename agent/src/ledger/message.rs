//! What the ledger prints, made readable: the message without the usage around it.

/// Lines without their ends: the ledger mixes CR LF and LF.
pub(super) fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').map(|line| line.trim_end_matches('\r').trim_end())
}

/// The message in what the ledger prints on an error: what stands behind `Error: `, without the usage around it.
/// Without such a line the last line that says something.
pub fn error_message(stderr: &str) -> Option<String> {
    if stderr.contains("panic:") {
        return Some(panic_message(stderr));
    }
    let mut from_error = lines(stderr).skip_while(|line| !line.starts_with("Error: ")).peekable();
    if from_error.peek().is_some() {
        let message: Vec<&str> = from_error.take_while(|line| !line.is_empty() && *line != "Usage:").collect();
        return Some(shorten(message.join(" ").trim_start_matches("Error: ")));
    }
    lines(stderr).filter(|line| !line.trim().is_empty()).last().map(shorten)
}

/// The first line of a panic's trace that says why.
pub(super) fn panic_message(stderr: &str) -> String {
    shorten(lines(stderr).find(|line| line.starts_with("panic:")).unwrap_or("a panic without a message"))
}

/// Some releases put 3 KB of SQL before the message.
fn shorten(message: &str) -> String {
    const MOST: usize = 600;
    let count = message.chars().count();
    if count <= MOST {
        return message.to_owned();
    }
    let end: String = message.chars().skip(count - MOST).collect();
    format!("… {end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_shown_without_the_usage_around_it() {
        let stderr = "Error: invalid input\nUsage:\n  numary storage upgrade [flags]\n\nFlags:\n\ninvalid input\n";
        assert_eq!(error_message(stderr).unwrap(), "invalid input");
        let panic = "goroutine 1\npanic: runtime error: x\n\ngoroutine 1 [running]:\n";
        assert_eq!(error_message(panic).unwrap(), "panic: runtime error: x");
        assert_eq!(error_message("listen tcp: in use\r\n\n").unwrap(), "listen tcp: in use");
        assert_eq!(error_message("\n"), None);
    }
}
