//! What travels inside `CopyData`: the streaming replication protocol and base backups, as bytes.
//!
//! The formats are those of "Streaming Replication Protocol" in the manual (`src/backend/replication/walsender.c`,
//! `src/backend/backup/basebackup_copy.c`). Pure.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::message::{self, ProtocolError};
use crate::model::{Lsn, Timestamp};

/// A message of a server that streams its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ReplicationMessage {
    /// Bytes of the log.
    XLogData {
        start: Lsn,
        /// How far the server had flushed its log just before it made this message.
        wal_end: Lsn,
        /// The server's clock when it made this message; `None` if it cannot be told as a [`Timestamp`].
        clock: Option<Timestamp>,
        bytes: Bytes,
    },
    /// A sign of life.
    Keepalive {
        clock: Option<Timestamp>,
        /// Whether the server wants to hear from the client at once.
        reply_requested: bool,
    },
}

/// A message of a server that sends a base backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BackupMessage {
    /// A tar archive begins.
    Archive { name: String },
    /// The manifest begins.
    Manifest,
    /// The next bytes of what began last.
    Data(Bytes),
    /// So many bytes of files were sent.
    Progress,
}

/// How far the client has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StatusUpdate {
    /// Everything before it is durable. [`Lsn::ZERO`] says nothing.
    pub(super) durable: Lsn,
    /// Whether the server shall send a keepalive at once.
    pub(super) reply_requested: bool,
}

impl ReplicationMessage {
    /// # Errors
    /// If `body` is no such message.
    pub(super) fn parse(mut body: Bytes) -> Result<Self, ProtocolError> {
        let truncated = |_| ProtocolError("a truncated replication message");
        let tag = body.try_get_u8().map_err(truncated)?;
        match tag {
            b'w' => {
                let start = Lsn::new(body.try_get_u64().map_err(truncated)?);
                let wal_end = Lsn::new(body.try_get_u64().map_err(truncated)?);
                let clock = Timestamp::from_postgres_micros(body.try_get_i64().map_err(truncated)?);
                let end = start.checked_add(body.len() as u64);
                end.ok_or(ProtocolError("log beyond the end of the log"))?;
                Ok(Self::XLogData { start, wal_end, clock, bytes: body })
            }
            b'k' => {
                // How far the server has sent: it proves nothing that the data do not.
                body.try_get_u64().map_err(truncated)?;
                let clock = Timestamp::from_postgres_micros(body.try_get_i64().map_err(truncated)?);
                let reply_requested = body.try_get_u8().map_err(truncated)? != 0;
                Ok(Self::Keepalive { clock, reply_requested })
            }
            _ => Err(ProtocolError("a replication message of unknown type")),
        }
    }
}

impl BackupMessage {
    /// # Errors
    /// If `body` is no such message.
    pub(super) fn parse(mut body: Bytes) -> Result<Self, ProtocolError> {
        match body.try_get_u8() {
            Ok(b'n') => Ok(Self::Archive { name: message::text(&mut body)? }),
            Ok(b'm') => Ok(Self::Manifest),
            Ok(b'd') => Ok(Self::Data(body)),
            Ok(b'p') => Ok(Self::Progress),
            _ => Err(ProtocolError("a base backup message of unknown type")),
        }
    }
}

impl StatusUpdate {
    /// The body of the `CopyData` that tells it.
    ///
    /// All three positions are the same: what was merely received may be lost with this process, so that a server that waits
    /// for it to be written, flushed or even applied waits for it to be durable. The clock of the client, which only shows up
    /// in `pg_stat_replication`, is `clock`.
    pub(super) fn encode(self, clock: Option<Timestamp>) -> Bytes {
        let mut body = BytesMut::with_capacity(34);
        body.put_u8(b'r');
        for _ in ["written", "flushed", "applied"] {
            body.put_u64(self.durable.as_u64());
        }
        body.put_i64(clock.map_or(0, Timestamp::as_postgres_micros));
        body.put_u8(self.reply_requested.into());
        body.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(micros: i64) -> Option<Timestamp> {
        Timestamp::from_postgres_micros(micros)
    }

    #[test]
    fn log_and_keepalives_are_read() {
        let body = b"w\0\0\0\x01\0\0\0\x02\0\0\0\x01\0\0\0\x09\0\0\0\0\0\0\0\x07log";
        let expected = ReplicationMessage::XLogData {
            start: Lsn::new(0x1_0000_0002),
            wal_end: Lsn::new(0x1_0000_0009),
            clock: micros(7),
            bytes: Bytes::from_static(b"log"),
        };
        assert_eq!(ReplicationMessage::parse(Bytes::from_static(body)), Ok(expected));
        let body = b"k\0\0\0\x01\0\0\0\x02\0\0\0\0\0\0\0\x07\x01";
        let expected = ReplicationMessage::Keepalive { clock: micros(7), reply_requested: true };
        assert_eq!(ReplicationMessage::parse(Bytes::from_static(body)), Ok(expected));
    }

    #[test]
    fn what_is_cut_off_or_too_far_is_refused() {
        let keepalive = b"k\0\0\0\x01\0\0\0\x02\0\0\0\0\0\0\0\x07\x01";
        for length in 0..keepalive.len() {
            assert!(ReplicationMessage::parse(Bytes::from_static(&keepalive[..length])).is_err(), "{length}");
        }
        let beyond = [&b"w"[..], &[0xff; 16], &[0; 8], b"x"].concat();
        assert!(ReplicationMessage::parse(beyond.into()).is_err());
        assert!(BackupMessage::parse(Bytes::from_static(b"nbase.tar")).is_err(), "a name without an end");
        assert!(BackupMessage::parse(Bytes::new()).is_err());
    }

    #[test]
    fn a_status_update_is_what_the_server_reads() {
        let update = StatusUpdate { durable: Lsn::new(5), reply_requested: true };
        let position = [0, 0, 0, 0, 0, 0, 0, 5];
        let expected = [&b"r"[..], &position, &position, &position, &[0, 0, 0, 0, 0, 0, 0, 9], &[1]].concat();
        assert_eq!(update.encode(micros(9)), expected);
    }
}
