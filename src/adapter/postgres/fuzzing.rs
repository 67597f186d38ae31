//! Doors for fuzz targets to what is private.

use bytes::BytesMut;

use super::copy_data::{BackupMessage, ReplicationMessage};
use super::message::{Message, take};

/// Reads `bytes` as all that a server could send.
pub fn messages(bytes: &[u8]) {
    let mut received = BytesMut::from(bytes);
    while let Ok(Some(message)) = take(&mut received, bytes.len()) {
        if let Message::CopyData(body) = message {
            let _ = ReplicationMessage::parse(body.clone());
            let _ = BackupMessage::parse(body);
        }
    }
}
