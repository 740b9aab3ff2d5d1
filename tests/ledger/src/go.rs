//! JSON as Go's encoder writes it: keys sorted, `<`, `>` and `&` escaped, numbers that went through a map as 64-bit floats. The
//! ledger's hashes are taken over these texts, so they must agree to the byte (checked against hashes of real storages).

use serde_json::Value;
use sha2::{Digest, Sha256};

/// Whether numbers went through `map[string]interface{}`, which makes them floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// Kept as they are.
    Exact,
    /// Through a float of 64 bits.
    Float,
}

/// The text of a value.
#[must_use]
pub fn json(value: &Value, numbers: Numbers) -> String {
    let mut out = String::new();
    write(value, numbers, &mut out);
    out
}

/// `{"data":…,"date":…,"hash":…,"id":…,"type":…}`: what a row of `log` is hashed as.
#[must_use]
pub fn log_entry(id: i64, kind: &str, date: &str, hash: &str, data: &str) -> String {
    format!("{{\"data\":{data},\"date\":{},\"hash\":\"{hash}\",\"id\":{id},\"type\":\"{kind}\"}}", string(date))
}

/// The hash of an entry that follows `previous` (`null` for the first).
#[must_use]
pub fn chain(previous: &str, entry: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(previous.as_bytes());
    hash.update(entry.as_bytes());
    hex::encode(hash.finalize())
}

/// A quoted string.
#[must_use]
pub fn string(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

fn write(value: &Value, numbers: Numbers, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Value::Number(number) => match (numbers, number.as_i64(), number.as_f64()) {
            (Numbers::Exact, Some(whole), _) => out.push_str(&whole.to_string()),
            (Numbers::Float, Some(whole), Some(float)) if whole.unsigned_abs() >= 1 << 53 => {
                out.push_str(&format!("{float:.0}"))
            }
            (Numbers::Float, Some(whole), _) => out.push_str(&whole.to_string()),
            (_, None, Some(float)) => out.push_str(&format!("{float}")),
            (_, None, None) => out.push_str(&number.to_string()),
        },
        Value::String(text) => out.push_str(&string(text)),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(item, numbers, out);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            out.push('{');
            for (index, (key, item)) in fields.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                out.push_str(&string(key));
                out.push(':');
                write(item, numbers, out);
            }
            out.push('}');
        }
    }
}
