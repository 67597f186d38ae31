//! Timeline history files: `00000002.history` and its like.
//!
//! The format is that of PostgreSQL's `src/backend/access/transam/timeline.c`: a line for each switch with the timeline that
//! was left, the switch point and the reason, separated by tabs; lines that begin with `#` and empty lines mean nothing. It
//! leaves an empty line before all but the first.

use crate::model::{ParseError, TimelineHistory, TimelineHistoryError, TimelineId, TimelineSwitch};

/// A timeline history file that PostgreSQL would refuse to read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// A line that is not `timeline`, tab, `switch point`, tab, `reason`.
    #[error("line {line} of the history of timeline {timeline} is malformed")]
    Malformed {
        /// The timeline whose history it is.
        timeline: TimelineId,
        /// The line's number, from 1.
        line: usize,
        /// What is wrong with it.
        source: ParseError,
    },
    /// A line that contradicts those before it, or the name of the file.
    #[error("line {line} of the history of timeline {timeline} contradicts the rest")]
    Contradiction {
        /// The timeline whose history it is.
        timeline: TimelineId,
        /// The line's number, from 1.
        line: usize,
        /// What is wrong with it.
        source: TimelineHistoryError,
    },
}

/// Reads the history file of `timeline`.
///
/// A reason that is not UTF-8 (it may quote the name of a restore point) is kept as far as it is. The order of the lines is
/// that of the file.
///
/// # Errors
/// If a line is malformed, or out of order.
pub fn parse(timeline: TimelineId, file: &[u8]) -> Result<TimelineHistory, HistoryError> {
    let text = String::from_utf8_lossy(file);
    let (mut lines, mut switches) = (Vec::new(), Vec::new());
    for (line, content) in (1..).zip(text.split('\n')).filter(|(_, content)| means_something(content)) {
        let malformed = |source| HistoryError::Malformed { timeline, line, source };
        switches.push(parse_line(content).map_err(malformed)?);
        lines.push((line, switches.last().map(|switch| switch.timeline)));
    }
    TimelineHistory::new(timeline, switches).map_err(|source| {
        let (TimelineHistoryError::TimelineOrder { timeline: wrong, .. }
        | TimelineHistoryError::SwitchOrder { timeline: wrong, .. }) = source;
        let line = lines.iter().find(|(_, listed)| *listed == Some(wrong)).map_or(1, |(line, _)| *line);
        HistoryError::Contradiction { timeline, line, source }
    })
}

/// The history as PostgreSQL would write it; empty for a timeline without ancestors, which has no file.
///
/// A line break in a reason becomes a space, since it would end the line.
#[must_use]
pub fn print(history: &TimelineHistory) -> String {
    let lines = history.ancestors().iter().map(print_line);
    lines.collect::<Vec<_>>().join("\n")
}

fn means_something(line: &str) -> bool {
    let line = line.trim_start();
    !line.is_empty() && !line.starts_with('#')
}

fn parse_line(line: &str) -> Result<TimelineSwitch, ParseError> {
    let (timeline, rest) = split_field(line);
    let (switch, reason) = split_field(rest);
    Ok(TimelineSwitch::new(timeline.parse()?, switch.parse()?, reason))
}

/// The first field, and what follows the one separator after it.
fn split_field(line: &str) -> (&str, &str) {
    let line = line.trim_start();
    line.split_once(|separator: char| separator.is_ascii_whitespace()).unwrap_or((line, ""))
}

fn print_line(switch: &TimelineSwitch) -> String {
    format!("{}\t{}\t{}\n", switch.timeline, switch.switch, switch.reason.replace('\n', " "))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Lsn;

    fn tli(number: u32) -> TimelineId {
        TimelineId::new(number).unwrap()
    }

    /// As PostgreSQL writes it at a second promotion.
    const WRITTEN: &str =
        "1\t0/3000148\tno recovery target specified\n\n2\t16/B374D848\tat restore point \"before\tit\"\n";

    #[test]
    fn what_postgresql_wrote_prints_back_to_the_same_bytes() {
        let history = parse(tli(3), WRITTEN.as_bytes()).unwrap();
        assert_eq!(history.begin(), "16/B374D848".parse().unwrap());
        assert_eq!(history.ancestors()[1].reason, "at restore point \"before\tit\"");
        assert_eq!(print(&history), WRITTEN);
    }

    #[test]
    fn comments_and_blanks_mean_nothing() {
        let text = "# made by hand\n\n \t\n  # so\n 1  0/3000148\n";
        let expected = TimelineHistory::new(tli(2), vec![TimelineSwitch::new(tli(1), Lsn::new(0x300_0148), "")]);
        assert_eq!(parse(tli(2), text.as_bytes()), Ok(expected.unwrap()));
        assert_eq!(parse(tli(1), b""), Ok(TimelineHistory::root(tli(1))));
    }

    #[test]
    fn an_error_names_the_line() {
        for (text, expected) in [
            ("# c\nx\t0/1\n", 2),
            ("1\n", 1),
            ("1\t0/1\n\n\n0\t0/2\n", 4),
            ("1\t0/1\tr\n3\t0/2\tr\n2\t0/3\tr\n", 2),
            ("1\t0/2\tr\n\n2\t0/1\tr\n", 3),
            ("7\t0/2\tr\n", 1),
        ] {
            let (HistoryError::Malformed { line, .. } | HistoryError::Contradiction { line, .. }) =
                parse(tli(7), text.as_bytes()).unwrap_err();
            assert_eq!(line, expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_history_survives_its_file(steps in prop::collection::vec((1_u32..9, 0_u64..1 << 40, "[^\n]*"), 0..6)) {
            let (mut timeline, mut at) = (0, 0);
            let switches = steps.into_iter().map(|(more, bytes, reason)| {
                (timeline, at) = (timeline + more, at + bytes);
                TimelineSwitch::new(tli(timeline), Lsn::new(at), reason)
            });
            let switches = switches.collect();
            let history = TimelineHistory::new(tli(100), switches).unwrap();
            prop_assert_eq!(parse(tli(100), print(&history).as_bytes()), Ok(history));
        }
    }
}
