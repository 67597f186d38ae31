//! `key=value` pairs: `conninfo_parse` of libpq.

use super::ConnInfoError;

/// The pairs of `text`, in order.
///
/// Spaces may surround `=`. A value is bare up to the next space, or stands in single quotes; in both, a backslash takes the
/// character after it literally.
pub(super) fn parse(text: &str) -> Result<Vec<(String, String)>, ConnInfoError> {
    let mut rest = text.trim_ascii_start();
    let mut pairs = Vec::new();
    while !rest.is_empty() {
        let at = text.len() - rest.len();
        let key_length = rest.find(|c: char| c == '=' || c.is_ascii_whitespace()).unwrap_or(rest.len());
        let (key, after) = rest.split_at(key_length);
        let value = after.trim_ascii_start().strip_prefix('=').ok_or(ConnInfoError::MissingEquals { at })?;
        let (value, after) = parse_value(text, value.trim_ascii_start())?;
        pairs.push((key.to_owned(), value));
        rest = after.trim_ascii_start();
    }
    Ok(pairs)
}

/// The value at the start of `rest`, which is the end of `text`, and what follows it.
fn parse_value<'a>(text: &str, rest: &'a str) -> Result<(String, &'a str), ConnInfoError> {
    let inside = rest.strip_prefix('\'');
    let mut chars = inside.unwrap_or(rest).chars();
    let mut value = String::new();
    while let Some(c) = chars.next() {
        match c {
            '\\' => value.extend(chars.next()),
            '\'' if inside.is_some() => return Ok((value, chars.as_str())),
            c if c.is_ascii_whitespace() && inside.is_none() => return Ok((value, chars.as_str())),
            c => value.push(c),
        }
    }
    match inside {
        Some(_) => Err(ConnInfoError::UnterminatedQuote { at: text.len() - rest.len() }),
        None => Ok((value, "")),
    }
}

/// `value` as it must be written: bare if that is unambiguous.
pub(super) fn quoted(value: &str) -> String {
    let bare = |c: char| !c.is_ascii_whitespace() && c != '\'' && c != '\\';
    if !value.is_empty() && value.chars().all(bare) {
        return value.to_owned();
    }
    let escaped = value.replace('\\', r"\\").replace('\'', r"\'");
    format!("'{escaped}'")
}
