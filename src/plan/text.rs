//! Quantities as an operator reads them.

use std::fmt;
use std::time::Duration;

/// Bytes in binary units, with one decimal, rounded down.
pub(super) struct Size(pub(super) u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(50, "PiB"), (40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
        match units.into_iter().find(|&(shift, _)| self.0 >> shift > 0) {
            Some((shift, unit)) => {
                let tenths = (u128::from(self.0) * 10) >> shift;
                write!(f, "{}.{} {unit}", tenths / 10, tenths % 10)
            }
            None => write!(f, "{} bytes", self.0),
        }
    }
}

/// A duration in hours, minutes and seconds, rounded up.
pub(super) struct Span(pub(super) Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs().saturating_add(u64::from(self.0.subsec_nanos() > 0));
        match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
            (0, 0, seconds) => write!(f, "{seconds} s"),
            (0, minutes, seconds) => write!(f, "{minutes} min {seconds} s"),
            (hours, minutes, _) => write!(f, "{hours} h {minutes} min"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_down_to_tenths() {
        let sizes = [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1.0 KiB"), (2047, "1.9 KiB"), (3 << 49, "1.5 PiB")];
        for (bytes, text) in sizes {
            assert_eq!(Size(bytes).to_string(), text);
        }
        assert_eq!(Size(u64::MAX).to_string(), "16383.9 PiB");
    }

    #[test]
    fn durations_are_rounded_up_to_seconds() {
        let millis = [(0, "0 s"), (1000, "1 s"), (1001, "2 s"), (60_000, "1 min 0 s"), (3_659_001, "1 h 1 min")];
        for (millis, text) in millis {
            assert_eq!(Span(Duration::from_millis(millis)).to_string(), text);
        }
        assert_eq!(Span(Duration::MAX).to_string(), "5124095576030431 h 0 min");
    }
}
