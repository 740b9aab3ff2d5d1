//! Text from outside made safe to print.

use std::fmt::Write as _;

/// Characters beside control characters that are not seen, or move what is seen: Unicode's `Default_Ignorable_Code_Point`
/// (zero widths, fillers, tags, variation selectors, what overrides or isolates a direction), the separators of lines and
/// paragraphs, and interlinear annotations. Source: `DerivedCoreProperties.txt` of Unicode 16.
const UNSEEN: &[(char, char)] = &[
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{2028}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fffb}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
];

/// Whether a character prints as itself: no control character (terminal escapes begin with one), nothing that is not seen, and
/// nothing that changes the order of what is.
pub fn is_plain(c: char) -> bool {
    (' '..='~').contains(&c) || !(c.is_control() || UNSEEN.iter().any(|(first, last)| (*first..=*last).contains(&c)))
}

/// A text made safe to print: what does not print as itself appears escaped, as `\u{1b}`.
pub fn shown(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if is_plain(c) {
            safe.push(c);
        } else {
            // A string takes whatever is written to it.
            let _ = write!(safe, "{}", c.escape_default());
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_or_moves_what_is_seen_is_shown_escaped() {
        for hostile in [
            "\u{0}",
            "\t",
            "\n",
            "\r",
            "\u{1b}",
            "\u{7f}",
            "\u{85}",
            "\u{9b}",
            "\u{ad}",
            "\u{61c}",
            "\u{200b}",
            "\u{200e}",
            "\u{200f}",
            "\u{2028}",
            "\u{202a}",
            "\u{202b}",
            "\u{202c}",
            "\u{202d}",
            "\u{202e}",
            "\u{2060}",
            "\u{2066}",
            "\u{2067}",
            "\u{2068}",
            "\u{2069}",
            "\u{feff}",
            "\u{e0041}",
        ] {
            let text = shown(&format!("a{hostile}b"));
            assert!(
                text.is_ascii() && text.starts_with("a\\") && text.ends_with('b'),
                "{hostile:?} is shown as {text:?}"
            );
            assert!(!text.chars().any(char::is_control), "{hostile:?} is shown as {text:?}");
        }
    }

    #[test]
    fn what_people_write_stays_as_they_wrote_it() {
        let text = "Gebühr 漢字 עברית العربية ελληνικά é ~ \\ ' \" 💶";
        assert_eq!(shown(text), text);
    }
}
