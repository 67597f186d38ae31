//! Messages of a server, as bytes: the frontend/backend protocol 3.0, as far as replication needs it.
//!
//! Pure and bounded: a length that a hostile server claims is checked before anything is made of it. The formats are those of
//! "Message Formats" in the manual.

use bytes::{Buf, Bytes, BytesMut};

use super::server_error::ServerError;

/// A message that is not what the protocol allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server does not speak PostgreSQL's protocol: {0}")]
pub(super) struct ProtocolError(pub(super) &'static str);

/// A message of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    Authentication(Authentication),
    ParameterStatus(String, String),
    Notice(ServerError),
    Error(ServerError),
    /// The names of the columns of the rows that follow; nobody needs them.
    RowDescription,
    DataRow(Row),
    CommandComplete,
    CopyOut,
    CopyBoth,
    CopyData(Bytes),
    CopyDone,
    ReadyForQuery,
    /// Something that can be ignored: a key for cancel requests, a notification.
    Ignored,
}

/// The values of a row as text, `None` for SQL's null.
pub(super) type Row = Vec<Option<Bytes>>;

/// What the server wants as a proof of identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Authentication {
    Ok,
    CleartextPassword,
    Md5Password([u8; 4]),
    /// The mechanisms to choose from.
    Sasl(Vec<String>),
    SaslContinue(Bytes),
    SaslFinal(Bytes),
    /// Kerberos, SSPI, and what is yet to come.
    Unsupported(u32),
}

/// Bodies shorter than this are copied: a slice keeps alive all that was received together with it, which is much more than
/// anybody who counts its bytes knows.
const COPIED_BYTES_MAX: usize = 16 << 10;

/// Takes the first whole message off `received`; `None` if there is none yet.
///
/// # Errors
/// If it is longer than `bytes_max`, or is none.
pub(super) fn take(received: &mut BytesMut, bytes_max: usize) -> Result<Option<Message>, ProtocolError> {
    let Some((&tag, rest)) = received.split_first() else { return Ok(None) };
    let Some(length) = rest.first_chunk() else { return Ok(None) };
    // The length counts itself, but not the tag.
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if length < 4 {
        return Err(ProtocolError("a message is shorter than its own length"));
    }
    if length > bytes_max {
        return Err(ProtocolError("a message is longer than any can be"));
    }
    if rest.len() < length {
        return Ok(None);
    }
    let mut message = received.split_to(length + 1);
    message.advance(5);
    let body = if message.len() < COPIED_BYTES_MAX { Bytes::copy_from_slice(&message) } else { message.freeze() };
    parse(tag, body).map(Some)
}

fn parse(tag: u8, body: Bytes) -> Result<Message, ProtocolError> {
    Ok(match tag {
        b'R' => Message::Authentication(parse_authentication(body)?),
        b'S' => {
            let mut body = body;
            Message::ParameterStatus(text(&mut body)?, text(&mut body)?)
        }
        b'N' => Message::Notice(parse_server_error(body)?),
        b'E' => Message::Error(parse_server_error(body)?),
        b'T' => Message::RowDescription,
        b'D' => Message::DataRow(parse_row(body)?),
        // An empty query is complete, too.
        b'C' | b'I' => Message::CommandComplete,
        b'H' => Message::CopyOut,
        b'W' => Message::CopyBoth,
        b'd' => Message::CopyData(body),
        b'c' => Message::CopyDone,
        b'Z' => Message::ReadyForQuery,
        // BackendKeyData, NotificationResponse, NegotiateProtocolVersion.
        b'K' | b'A' | b'v' => Message::Ignored,
        _ => return Err(ProtocolError("a message of unknown type")),
    })
}

fn parse_authentication(mut body: Bytes) -> Result<Authentication, ProtocolError> {
    let truncated = |_| ProtocolError("a truncated request for authentication");
    Ok(match body.try_get_u32().map_err(truncated)? {
        0 => Authentication::Ok,
        3 => Authentication::CleartextPassword,
        5 => {
            let mut salt = [0; 4];
            body.try_copy_to_slice(&mut salt).map_err(truncated)?;
            Authentication::Md5Password(salt)
        }
        10 => {
            let mut mechanisms = Vec::new();
            while body.len() > 1 {
                mechanisms.push(text(&mut body)?);
            }
            Authentication::Sasl(mechanisms)
        }
        11 => Authentication::SaslContinue(body),
        12 => Authentication::SaslFinal(body),
        code => Authentication::Unsupported(code),
    })
}

fn parse_server_error(mut body: Bytes) -> Result<ServerError, ProtocolError> {
    let mut error = ServerError::default();
    while let Ok(field) = body.try_get_u8() {
        if field == 0 {
            return Ok(error);
        }
        let value = text(&mut body)?;
        match field {
            // `V` is the severity untranslated, and follows `S`, its translation.
            b'S' | b'V' => error.severity = value,
            b'C' => error.code = value,
            b'M' => error.message = value,
            b'D' => error.detail = Some(value),
            b'H' => error.hint = Some(value),
            b'R' => error.routine = Some(value),
            _ => {}
        }
    }
    Err(ProtocolError("an error message without an end"))
}

fn parse_row(mut body: Bytes) -> Result<Row, ProtocolError> {
    let truncated = ProtocolError("a truncated row");
    let columns = body.try_get_u16().map_err(|_| truncated)?;
    (0..columns)
        .map(|_| match body.try_get_i32().map_err(|_| truncated)? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).ok().filter(|length| *length <= body.len()).ok_or(truncated)?;
                Ok(Some(body.split_to(length)))
            }
        })
        .collect()
}

/// Takes a text with a zero byte behind it off `body`. Before a client has said which encoding it wants, a server may speak
/// any; what is no UTF-8 is replaced, as nothing but messages for people can have it.
pub(super) fn text(body: &mut Bytes) -> Result<String, ProtocolError> {
    let length = body.iter().position(|byte| *byte == 0).ok_or(ProtocolError("a text without an end"))?;
    let text = body.split_to(length);
    body.advance(1);
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES_MAX: usize = 1 << 16;

    fn one(bytes: &[u8]) -> Result<Option<Message>, ProtocolError> {
        take(&mut BytesMut::from(bytes), BYTES_MAX)
    }

    #[test]
    fn a_message_is_taken_only_when_it_is_whole() {
        let whole = b"D\0\0\0\x11\0\x02\0\0\0\x03abc\xff\xff\xff\xffZ\0\0\0\x05I";
        for length in 0..18 {
            assert_eq!(one(&whole[..length]), Ok(None), "{length}");
        }
        let mut received = BytesMut::from(&whole[..]);
        let row = vec![Some(Bytes::from_static(b"abc")), None];
        assert_eq!(take(&mut received, BYTES_MAX), Ok(Some(Message::DataRow(row))));
        assert_eq!(take(&mut received, BYTES_MAX), Ok(Some(Message::ReadyForQuery)));
        assert!(received.is_empty());
    }

    #[test]
    fn a_short_message_keeps_no_buffer_alive() {
        let mut received = BytesMut::with_capacity(BYTES_MAX);
        let buffer = received.as_ptr();
        received.extend_from_slice(b"d\0\0\0\x05x");
        let message = take(&mut received, BYTES_MAX).unwrap();
        assert_eq!(message, Some(Message::CopyData(Bytes::from_static(b"x"))));
        received.reserve(BYTES_MAX);
        assert_eq!(received.as_ptr(), buffer, "the buffer is used again");
    }

    #[test]
    fn hostile_lengths_are_refused_at_once() {
        assert!(one(b"d\xff\xff\xff\xff").is_err());
        assert!(one(b"d\0\0\0\x03").is_err());
        assert!(one(b"D\0\0\0\x0a\0\x01\x7f\xff\xff\xff").is_err(), "a value beyond its row");
        assert!(one(b"D\0\0\0\x0a\0\x01\xff\xff\xff\xfe").is_err(), "a negative length");
        assert!(one(b"D\0\0\0\x06\xff\xff").is_err(), "columns without values");
        assert!(one(b"E\0\0\0\x06Sx").is_err(), "a text without an end");
        assert!(one(b"?\0\0\0\x04").is_err());
    }

    #[test]
    fn an_error_has_its_fields() {
        let bytes = b"E\0\0\0\x37SFEHLER\0VERROR\0C58P01\0Mweg\0Hmach neu\0RXLogRead\0F1\0\0";
        let Ok(Some(Message::Error(error))) = one(bytes) else { panic!("no error") };
        assert_eq!(error.to_string(), "ERROR: weg (SQLSTATE 58P01); hint: mach neu");
        assert_eq!(error.routine.as_deref(), Some("XLogRead"));
    }
}
