//! Replication commands and their typed answers (section "Streaming Replication Protocol" of the manual).

use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::connection::Connection;
use super::message::{Message, ProtocolError, Row};
use crate::model::{Incarnation, Lsn, Parameters, PostgresMajor, SegmentSize, SystemId, TimelineId};
use crate::port::{PortError, PortErrorKind, SourceIdentity};

/// How long whoever let go of a slot may take until the server knows.
const SLOT_RELEASE_TIME_MAX: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(50);
const TIMELINE_END: &str = "the end of a timeline";
/// What stands in files or was given when it was started (`pg_settings`), whatever this very session has set.
const PARAMETERS: &str = "SELECT name, current_setting(name) FROM pg_settings \
     WHERE source IN ('configuration file', 'command line', 'environment variable') AND context <> 'internal' \
     AND name NOT IN ('data_directory', 'config_file', 'hba_file', 'ident_file', 'external_pid_file', \
     'listen_addresses', 'port', 'unix_socket_directories')";

/// What `IDENTIFY_SYSTEM` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SystemIdentity {
    pub(super) system_id: SystemId,
    pub(super) timeline: TimelineId,
    /// The end of the log that was flushed just now; on a standby, of the log that was received or replayed.
    pub(super) flush_lsn: Lsn,
}

/// How a server began to stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Started {
    /// Copy messages follow.
    Streaming,
    /// The timeline ended before the requested start.
    Ended(NextTimeline),
}

/// Where the log goes on after the end of a timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NextTimeline {
    pub(super) timeline: TimelineId,
    pub(super) switch: Lsn,
}

impl Connection {
    pub(super) async fn identify_system(&mut self) -> Result<SystemIdentity, PortError> {
        let row = self.row("identification", "IDENTIFY_SYSTEM").await?;
        Ok(SystemIdentity {
            system_id: self.field(&row, 0)?,
            timeline: self.field(&row, 1)?,
            flush_lsn: self.field(&row, 2)?,
        })
    }

    /// Who the server is, with what `IDENTIFY_SYSTEM` leaves out.
    pub(super) async fn identity(&mut self) -> Result<SourceIdentity, PortError> {
        let version: u32 = self.show("server_version_num").await?;
        let unsupported =
            |error| PortError::new(PortErrorKind::Invalid, "the server's version is not supported").caused_by(error);
        let major = PostgresMajor::new(version / 10_000).map_err(unsupported)?;
        let size: MemorySize = self.show("wal_segment_size").await?;
        let size = SegmentSize::new(size.0).map_err(unsupported)?;
        let system = self.identify_system().await?;
        let incarnation = Incarnation::new(system.system_id, major);
        Ok(SourceIdentity::new(incarnation, size, system.timeline, system.flush_lsn))
    }

    /// The server's setting `name`, of which replication connections may ask for all.
    pub(super) async fn show<T: FromStr>(&mut self, name: &str) -> Result<T, PortError> {
        let row = self.row("a question for a setting", &format!("SHOW {name}")).await?;
        self.field(&row, 0)
    }

    /// Creates the physical slot `name`, which keeps log from now on. An existing slot is a conflict.
    pub(super) async fn create_slot(&mut self, name: &str) -> Result<(), PortError> {
        let command = format!("CREATE_REPLICATION_SLOT {} PHYSICAL RESERVE_WAL", identifier(name));
        self.query("the creation of the replication slot", &command).await.map(drop)
    }

    /// Drops the slot `name`. Who used it may be about to let go of it, as after a stream has ended, or the checkpointer, which found it useless:
    /// that is waited for. A slot that stays in use is a conflict.
    pub(super) async fn drop_slot(&mut self, name: &str) -> Result<(), PortError> {
        let doing = "the deletion of the replication slot";
        let command = format!("DROP_REPLICATION_SLOT {}", identifier(name));
        let end = Instant::now() + SLOT_RELEASE_TIME_MAX;
        loop {
            match self.query(doing, &command).await {
                Err(error) if error.kind() == PortErrorKind::Conflict && Instant::now() < end => {
                    self.ready(doing).await?;
                    sleep(POLL).await;
                }
                dropped => return dropped.map(drop),
            }
        }
    }

    /// What the slot `name` keeps: `None` if there is no such slot, `Some(None)` if it keeps nothing.
    pub(super) async fn slot_restart(&mut self, name: &str) -> Result<Option<Option<Lsn>>, PortError> {
        let command = format!("READ_REPLICATION_SLOT {}", identifier(name));
        let row = self.row("a look at the replication slot", &command).await?;
        if row.first().is_none_or(Option::is_none) {
            return Ok(None);
        }
        if row.get(1).is_none_or(Option::is_none) {
            return Ok(Some(None));
        }
        self.field(&row, 1).map(|restart| Some(Some(restart)))
    }

    /// Ends the session that uses the slot `name`, if one does. It takes a moment until the slot is free.
    pub(super) async fn evict(&mut self, name: &str) -> Result<(), PortError> {
        let terminate = format!(
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = {} AND active",
            literal(name)
        );
        self.query("the end of whoever uses the replication slot", &terminate).await.map(drop)
    }

    /// The parameters that are set for the whole server, but for those that say where it is. Of those that only some roles may see, as many as
    /// this one may.
    pub(super) async fn parameters(&mut self) -> Result<Parameters, PortError> {
        let rows = self.query("a look at the server's parameters", PARAMETERS).await?;
        rows.iter().map(|row| Ok((self.field::<String>(row, 0)?, self.field::<String>(row, 1)?))).collect()
    }

    /// The bytes of the history file of `timeline`.
    pub(super) async fn timeline_history(&mut self, timeline: TimelineId) -> Result<Bytes, PortError> {
        let mut row = self.row("a look at the timeline's history", &format!("TIMELINE_HISTORY {timeline}")).await?;
        let content = if row.len() == 2 { row.swap_remove(1) } else { None };
        content.ok_or_else(|| self.confused(ProtocolError("no timeline history where one was due")))
    }

    /// Begins to stream the log of `timeline` from `start`; with a `slot`, acknowledged log is released.
    pub(super) async fn start_replication(
        &mut self,
        slot: Option<&str>,
        timeline: TimelineId,
        start: Lsn,
    ) -> Result<Started, PortError> {
        let slot = slot.map(|slot| format!("SLOT {} ", identifier(slot))).unwrap_or_default();
        self.start(&format!("START_REPLICATION {slot}PHYSICAL {start} TIMELINE {timeline}")).await?;
        let doing = "the start of replication";
        let answer = tokio::time::timeout(Duration::from_secs(60), self.receive(doing)).await;
        match answer.unwrap_or_else(|_| Err(self.silent(doing)))? {
            Message::CopyBoth => Ok(Started::Streaming),
            Message::RowDescription => self.next_timeline().await.map(Started::Ended),
            _ => Err(self.confused(ProtocolError("no replication where it was due"))),
        }
    }

    /// Ends the copy of a timeline's log, as the server just did, and reads where the log goes on.
    ///
    /// A server that has sent all still reads what was on its way to it, and answers that with keepalives (`ProcessRepliesIfAny` of
    /// `src/backend/replication/walsender.c`). They tell nothing any more, and libpq drops them as well.
    pub(super) async fn end_copy(&mut self) -> Result<NextTimeline, PortError> {
        self.send_copy_done().await?;
        loop {
            match self.receive(TIMELINE_END).await? {
                Message::CopyData(_) => {}
                Message::RowDescription => return self.next_timeline().await,
                _ => return Err(self.confused(ProtocolError("no next timeline where it was due"))),
            }
        }
    }

    async fn next_timeline(&mut self) -> Result<NextTimeline, PortError> {
        let doing = TIMELINE_END;
        let rows = self.rows(doing).await?;
        let row = self.single(rows)?;
        let next = NextTimeline { timeline: self.field(&row, 0)?, switch: self.field(&row, 1)? };
        self.ready(doing).await?;
        Ok(next)
    }

    /// The column `index` of `row`, as what it must be.
    pub(super) fn field<T: FromStr>(&self, row: &Row, index: usize) -> Result<T, PortError> {
        let text = row.get(index).and_then(Option::as_deref).and_then(|bytes| std::str::from_utf8(bytes).ok());
        let value = text.and_then(|text| text.parse().ok());
        value.ok_or_else(|| self.confused(ProtocolError("a result without what was asked for")))
    }

    /// The row of a result that has one.
    pub(super) fn single(&self, mut rows: Vec<Row>) -> Result<Row, PortError> {
        let row = rows.pop().filter(|_| rows.is_empty());
        row.ok_or_else(|| self.confused(ProtocolError("a result of more or less than one row")))
    }

    async fn row(&mut self, doing: &str, command: &str) -> Result<Row, PortError> {
        let rows = self.query(doing, command).await?;
        self.single(rows)
    }
}

/// A name in double quotes. The server's scanner for replication commands (`repl_scanner.l`) undoubles quotes inside.
fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string in single quotes.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A setting with a unit of memory (`src/backend/utils/misc/guc.c`), in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MemorySize(pub(super) u64);

impl FromStr for MemorySize {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        with_unit(text, &[("B", 1), ("kB", 1 << 10), ("MB", 1 << 20), ("GB", 1 << 30)]).map(Self).ok_or(())
    }
}

/// A setting with a unit of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimeSetting(pub(super) Duration);

impl FromStr for TimeSetting {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let units = [("ms", 1), ("s", 1000), ("min", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
        with_unit(text, &units).map(|millis| Self(Duration::from_millis(millis))).ok_or(())
    }
}

/// A number and its unit; without a unit, the first one. `0` has none.
fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let factor = match unit {
        "" => units.first(),
        unit => units.iter().find(|(name, _)| *name == unit),
    };
    number.parse::<u64>().ok()?.checked_mul(factor?.1)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::adapter::postgres::connection::{Address, Endpoint};

    #[tokio::test]
    async fn keepalives_that_cross_the_end_of_a_copy_are_no_next_timeline() {
        let (mut server, client) = tokio::io::duplex(1 << 10);
        let endpoint = Endpoint { name: "test".into(), address: Address::Unix("/test".into()) };
        let mut connection = Connection::new(Box::new(client), endpoint);
        let keepalive: &[u8] = b"d\0\0\0\x16k\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0";
        let result: &[u8] = b"T\0\0\0\x06\0\0D\0\0\0\x15\0\x02\0\0\0\x012\0\0\0\x060/1000C\0\0\0\x04Z\0\0\0\x05I";
        for message in [keepalive, keepalive, result] {
            server.write_all(message).await.unwrap();
        }
        let next = NextTimeline { timeline: TimelineId::new(2).unwrap(), switch: Lsn::new(0x1000) };
        assert_eq!(connection.end_copy().await.unwrap(), next);
        let mut copy_done = [0; 5];
        server.read_exact(&mut copy_done).await.unwrap();
        assert_eq!(&copy_done, b"c\0\0\0\x04");
    }

    #[test]
    fn settings_have_units() {
        for (text, bytes) in [("16MB", 16 << 20), ("1GB", 1 << 30), ("1024kB", 1 << 20), ("1", 1)] {
            assert_eq!(text.parse(), Ok(MemorySize(bytes)), "{text}");
        }
        for (text, millis) in [("0", 0), ("1min", 60_000), ("2s", 2000), ("200ms", 200), ("10d", 864_000_000)] {
            assert_eq!(text.parse(), Ok(TimeSetting(Duration::from_millis(millis))), "{text}");
        }
        for text in ["", "MB", "1 MB", "1XB", "-1", "99999999999999999999MB", "18446744073709551615GB"] {
            assert!(text.parse::<MemorySize>().is_err(), "{text}");
        }
    }

    #[test]
    fn names_cannot_break_out() {
        assert_eq!(identifier("a\"; DROP"), "\"a\"\"; DROP\"");
        assert_eq!(literal("o'clock"), "'o''clock'");
    }
}
