//! Name and password, where they are configured.

use super::App;
use super::answers::Answer;
use super::routes::Asked;
use crate::release::BasicAuth;

/// The refusal, or none where the request may pass.
pub(super) fn refuse(app: &App, asked: &Asked<'_>, of_a_ledger: bool) -> Option<Answer> {
    let (credentials, status) = match app.release.basic_auth {
        BasicAuth::EverythingForbidden => (app.settings.list("server.http.basic_auth"), 403),
        BasicAuth::LedgersUnauthorised if !of_a_ledger || !app.settings.bool("auth-basic-enabled") => return None,
        BasicAuth::LedgersUnauthorised => (app.settings.list("auth-basic-credentials"), 401),
    };
    if credentials.is_empty() {
        return None;
    }
    let given = asked.headers.get("authorization").and_then(|header| header.to_str().ok());
    let given = given.and_then(|header| header.strip_prefix("Basic ")).and_then(decode);
    match given {
        Some(given) if credentials.contains(&given) => None,
        Some(_) | None => Some(Answer::empty(status)),
    }
}

fn decode(base64: &str) -> Option<String> {
    let mut bits = 0_u32;
    let mut count = 0;
    let mut bytes = Vec::new();
    for letter in base64.trim().trim_end_matches('=').bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    String::from_utf8(bytes).ok()
}
