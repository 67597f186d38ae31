//! From the library's errors to the port's.

use std::error::Error as _;
use std::iter::successors;

use object_store::Error;
use object_store::client::HttpError;

use super::http::{Refusal, element};
use crate::port::{PortError, PortErrorKind};

/// Names what was attempted when `error` came.
///
/// The library's errors repeat their causes, so that they are told as one line.
pub(super) fn failed(what: impl Into<String>) -> impl FnOnce(Error) -> PortError {
    |error| {
        let refusal = refusal(&error);
        let told = refusal.map_or_else(|| told(&error.to_string()), ToString::to_string);
        let port_error = PortError::new(kind(&error), what).caused_by(told);
        match refusal.and_then(Refusal::retry_after) {
            Some(pause) => port_error.with_retry_after(pause),
            None => port_error,
        }
    }
}

/// Of what a store answered, its name for the error and its message. The rest may repeat the request, with a session's token in it.
fn told(text: &str) -> String {
    let Some((before, _)) = text.split_once('<') else { return text.to_owned() };
    let said = ["Code", "Message"].map(|name| element(text, name).unwrap_or_default());
    format!("{before}{}", said.join(": "))
}

fn kind(error: &Error) -> PortErrorKind {
    match error {
        Error::NotFound { .. } if is_of_the_bucket(error) => PortErrorKind::Denied,
        Error::NotFound { .. } => PortErrorKind::NotFound,
        Error::AlreadyExists { .. } | Error::Precondition { .. } => PortErrorKind::Conflict,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => PortErrorKind::Denied,
        _ => unnamed_kind(error),
    }
}

/// That of errors which the library has no name for.
fn unnamed_kind(error: &Error) -> PortErrorKind {
    let from_network = || cause::<HttpError>(error).map(|_| PortErrorKind::Unavailable);
    refusal(error).map(Refusal::kind).or_else(from_network).unwrap_or(PortErrorKind::Invalid)
}

/// What is missing may be all of the store, which no caller should take for a missing object.
fn is_of_the_bucket(error: &Error) -> bool {
    let code = element(&error.to_string(), "Code");
    code.is_some_and(|code| ["NoSuchBucket", "ContainerNotFound"].contains(&code.as_str()))
}

fn refusal(error: &Error) -> Option<&Refusal> {
    cause(error)
}

fn cause<T: std::error::Error + 'static>(error: &Error) -> Option<&T> {
    successors(error.source(), |cause| (*cause).source()).find_map(|cause| cause.downcast_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_store_repeats_of_a_request_is_not_told() {
        let body = "Server returned non-2xx status code: 403 Forbidden: <?xml version=\"1.0\"?><Error><Code>SignatureDoesNotMatch</Code>\
            <Message>Check your key.</Message><CanonicalRequest>x-amz-security-token:SECRET</CanonicalRequest></Error>";
        let error = Error::PermissionDenied { path: "a/b".to_owned(), source: body.into() };
        let failure = failed("cannot read a/b")(error);
        assert_eq!(failure.kind(), PortErrorKind::Denied);
        let cause = failure.source().unwrap().to_string();
        assert!(cause.ends_with("403 Forbidden: SignatureDoesNotMatch: Check your key."), "{cause}");
        assert!(!format!("{failure:?}").contains("SECRET"));
    }
}
