//! Times, as they are written on the command line.

use std::time::Duration;

use pitr::adapter::system;
use pitr::model::Timestamp;

/// An instant with an offset, as RFC 3339 or PostgreSQL prints it; or so long ago.
pub(crate) fn instant(text: &str) -> Result<Timestamp, String> {
    if let Some(ago) = text.strip_suffix(" ago") {
        return Ok(system().clock.now().saturating_sub(duration(ago)?));
    }
    let mut rfc3339 = text.replacen(' ', "T", 1);
    // PostgreSQL leaves the minutes of an offset out if there are none.
    if rfc3339.len() > 3 && rfc3339[rfc3339.len() - 3..].starts_with(['+', '-']) && rfc3339.contains('T') {
        rfc3339.push_str(":00");
    }
    rfc3339.parse().map_err(|error| format!("{error}"))
}

/// So many seconds, minutes, hours or days.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let parsed = text.split_at_checked(text.len().saturating_sub(1)).and_then(|(number, unit)| {
        let (_, seconds) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
        number.trim().parse::<u64>().ok()?.checked_mul(seconds)
    });
    parsed.map(Duration::from_secs).ok_or_else(|| format!("{text:?} is not a number of s, m, h or d, as in 90s"))
}

/// The same, or `never`.
pub(crate) fn interval(text: &str) -> Result<Interval, String> {
    if text == "never" { Ok(Interval(None)) } else { duration(text).map(Some).map(Interval) }
}

/// How often, if ever.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interval(pub(crate) Option<Duration>);

const UNITS: [(&str, u64); 4] = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_read_as_they_are_written_elsewhere() {
        let at: Timestamp = "2026-11-24T13:02:59.25Z".parse().unwrap();
        for text in ["2026-11-24T14:02:59.25+01:00", "2026-11-24 14:02:59.25+01", "2026-11-24 13:02:59.250000Z"] {
            assert_eq!(instant(text), Ok(at), "{text}");
        }
        for text in
            ["", "ago", " ago", "5 ago", "5w ago", "-5s ago", "é ago", "+01", "2026-11-24", "2026-11-24T13:02:59", "€€"]
        {
            assert!(instant(text).is_err(), "{text:?}");
        }
        let now = system().clock.now();
        let hour = instant("1h ago").unwrap();
        assert!(now.duration_since(hour) <= Duration::from_secs(3600) && hour < now);
    }
}
