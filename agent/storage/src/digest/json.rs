//! JSON in one form: the same value spelt by Go, SQLite or PostgreSQL gives the same text.
//!
//! Own parser, because the numbers must keep every digit (amounts can be larger than 64 bits) and because switching on
//! serde_json's `arbitrary_precision` would change it for every crate of the workspace.

use std::fmt::Write as _;

/// Nesting deeper than this is not read; the text then counts as it stands.
const DEPTH: u8 = 100;

/// A JSON value. Numbers are already in canonical spelling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Json {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// Significant digits, then `e` and the exponent unless it is 0: `12`, `1e2`, `-15e-1`.
    Number(String),
    /// Decoded; lone surrogates are U+FFFD, as in Go.
    Text(String),
    /// In order.
    List(Vec<Json>),
    /// Sorted by key, the last of equal keys.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Parses a whole text; `None` when it is not JSON.
    pub fn parse(text: &str) -> Option<Self> {
        let mut reader = Reader { bytes: text.as_bytes(), at: 0 };
        let value = reader.value(DEPTH)?;
        reader.space();
        (reader.at == reader.bytes.len()).then_some(value)
    }

    /// A member of an object.
    pub fn get(&self, key: &str) -> Option<&Json> {
        match self {
            Self::Object(members) => members.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) | Self::List(_) => None,
        }
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::List(_) | Self::Object(_) => None,
        }
    }

    /// The whole number, if it is one and fits.
    pub fn whole(&self) -> Option<i128> {
        let Self::Number(spelt) = self else { return None };
        match spelt.split_once('e') {
            None => spelt.parse().ok(),
            Some((digits, exponent)) => {
                let factor = 10_i128.checked_pow(exponent.parse().ok()?)?;
                digits.parse::<i128>().ok()?.checked_mul(factor)
            }
        }
    }

    /// Appends the canonical text: no spaces, keys sorted by bytes, nothing escaped but `"`, `\` and characters below U+0020.
    pub fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(true) => out.push_str("true"),
            Self::Bool(false) => out.push_str("false"),
            Self::Number(spelt) => out.push_str(spelt),
            Self::Text(text) => write_text(text, out),
            Self::List(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (index, (key, value)) in members.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    write_text(key, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }
}

fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c < ' ' => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, wanted: u8) -> Option<()> {
        (self.peek()? == wanted).then(|| self.at += 1)
    }

    fn word(&mut self, word: &str, value: Json) -> Option<Json> {
        self.bytes[self.at..].starts_with(word.as_bytes()).then(|| {
            self.at += word.len();
            value
        })
    }

    fn value(&mut self, depth: u8) -> Option<Json> {
        let depth = depth.checked_sub(1)?;
        self.space();
        match self.peek()? {
            b'n' => self.word("null", Json::Null),
            b't' => self.word("true", Json::Bool(true)),
            b'f' => self.word("false", Json::Bool(false)),
            b'"' => self.string().map(Json::Text),
            b'[' => self.list(depth),
            b'{' => self.object(depth),
            b'-' | b'0'..=b'9' => self.number(),
            _ => None,
        }
    }

    fn list(&mut self, depth: u8) -> Option<Json> {
        self.take(b'[')?;
        let mut items = Vec::new();
        self.space();
        if self.take(b']').is_some() {
            return Some(Json::List(items));
        }
        loop {
            items.push(self.value(depth)?);
            self.space();
            if self.take(b']').is_some() {
                return Some(Json::List(items));
            }
            self.take(b',')?;
        }
    }

    fn object(&mut self, depth: u8) -> Option<Json> {
        self.take(b'{')?;
        let mut members: Vec<(String, Json)> = Vec::new();
        self.space();
        if self.take(b'}').is_some() {
            return Some(Json::Object(members));
        }
        loop {
            self.space();
            let key = self.string()?;
            self.space();
            self.take(b':')?;
            members.push((key, self.value(depth)?));
            self.space();
            if self.take(b'}').is_some() {
                break;
            }
            self.take(b',')?;
        }
        // The sort is stable, so among equal keys the last one written comes last: keep that one.
        members.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut kept: Vec<(String, Json)> = Vec::with_capacity(members.len());
        for member in members {
            match kept.last_mut() {
                Some(last) if last.0 == member.0 => *last = member,
                Some(_) | None => kept.push(member),
            }
        }
        Some(Json::Object(kept))
    }

    fn string(&mut self) -> Option<String> {
        self.take(b'"')?;
        let mut out = String::new();
        loop {
            let start = self.at;
            while !matches!(self.peek()?, b'"' | b'\\' | 0..=0x1f) {
                self.at += 1;
            }
            out.push_str(std::str::from_utf8(&self.bytes[start..self.at]).ok()?);
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Some(out);
                }
                b'\\' => {
                    self.at += 1;
                    let escape = self.peek()?;
                    self.at += 1;
                    out.push(match escape {
                        b'"' => '"',
                        b'\\' => '\\',
                        b'/' => '/',
                        b'b' => '\u{8}',
                        b'f' => '\u{c}',
                        b'n' => '\n',
                        b'r' => '\r',
                        b't' => '\t',
                        b'u' => self.unicode()?,
                        _ => return None,
                    });
                }
                _ => return None,
            }
        }
    }

    fn unicode(&mut self) -> Option<char> {
        let first = self.hex4()?;
        if (0xd800..0xdc00).contains(&first) && self.bytes[self.at..].starts_with(b"\\u") {
            let back = self.at;
            self.at += 2;
            let second = self.hex4()?;
            if (0xdc00..0xe000).contains(&second) {
                return char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00));
            }
            self.at = back;
        }
        Some(char::from_u32(first).unwrap_or('\u{fffd}'))
    }

    fn hex4(&mut self) -> Option<u32> {
        let digits = self.bytes.get(self.at..self.at + 4)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        self.at += 4;
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    }

    fn number(&mut self) -> Option<Json> {
        let negative = self.take(b'-').is_some();
        let whole = self.digits()?;
        let fraction = if self.take(b'.').is_some() { self.digits()? } else { &[] };
        let mut digits = [whole, fraction].concat();
        let shift = i64::try_from(fraction.len()).ok()?;
        let mut exponent = 0_i64;
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            let below = self.take(b'-').is_some();
            if !below {
                let _ = self.take(b'+');
            }
            let power: i64 = std::str::from_utf8(self.digits()?).ok()?.parse().ok()?;
            exponent = if below { -power } else { power };
        }
        exponent = exponent.checked_sub(shift)?;
        while digits.len() > 1 && digits.last() == Some(&b'0') {
            digits.pop();
            exponent = exponent.checked_add(1)?;
        }
        let leading = digits.iter().take_while(|digit| **digit == b'0').count();
        if leading == digits.len() {
            return Some(Json::Number("0".to_owned()));
        }
        let mut spelt = String::with_capacity(digits.len() + 2);
        if negative {
            spelt.push('-');
        }
        spelt.push_str(std::str::from_utf8(&digits[leading..]).ok()?);
        if exponent != 0 {
            let _ = write!(spelt, "e{exponent}");
        }
        Some(Json::Number(spelt))
    }

    fn digits(&mut self) -> Option<&'a [u8]> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        (self.at > start).then(|| &self.bytes[start..self.at])
    }
}

#[cfg(test)]
mod tests {
    use super::Json;

    fn canonical(text: &str) -> Option<String> {
        let mut out = String::new();
        Json::parse(text)?.write(&mut out);
        Some(out)
    }

    #[test]
    fn one_value_spelt_in_many_ways_has_one_form() {
        for (forms, canon) in [
            (&["1", "1.0", "10e-1", "0.1e1"][..], "1"),
            (&["100", "1e2", "1E+2", "100.00"], "1e2"),
            (&["0", "-0", "0.0", "0e9"], "0"),
            (&["-1.50", "-15e-1"], "-15e-1"),
            (&[r#""café""#, r#""caf\u00e9""#], "\"café\""),
            (&[r#""\ud83d\ude00""#, "\"😀\""], "\"😀\""),
            (&[r#" { "b" : 1 , "a" : [ ] } "#, r#"{"a":[],"b":1}"#, r#"{"b":7,"a":[],"b":1}"#], r#"{"a":[],"b":1}"#),
            (&[r#""a\/\u0008\b\n""#], r#""a/\u0008\u0008\u000a""#),
            (&[r#""\ud83dx""#], "\"\u{fffd}x\""),
        ] {
            for form in forms {
                assert_eq!(canonical(form).as_deref(), Some(canon), "{form}");
            }
        }
    }

    #[test]
    fn amounts_beyond_64_bits_keep_every_digit() {
        assert_eq!(Json::parse("170141183460469231731687303715884105727").and_then(|n| n.whole()), Some(i128::MAX));
        assert_eq!(Json::parse("5e3").and_then(|n| n.whole()), Some(5000));
        assert_eq!(Json::parse("1.5").and_then(|n| n.whole()), None);
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in
            ["", "nul", "{", "[1,]", "\"a", "\"\u{1}\"", "1 2", "{\"a\" 1}", r#""\x""#, "é", &"[".repeat(10_000)]
        {
            assert_eq!(canonical(text), None, "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn the_canonical_form_is_a_fixed_point(text in "[\\[\\]{}:,\"a-f0-9.\\\\ue+ -]{0,40}") {
            if let Some(once) = canonical(&text) {
                assert_eq!(canonical(&once), Some(once.clone()));
            }
        }
    }
}
