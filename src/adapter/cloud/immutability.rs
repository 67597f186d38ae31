//! Objects that a store keeps as they are, whoever asks it to change or destroy them.
//!
//! S3 calls it object lock, Azure version-level immutability, Google object retention. The library below cannot ask for it: what it sends is
//! amended.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use object_store::client::{HttpError, HttpRequest, HttpResponse};
use object_store::{HeaderMap, HeaderValue};

use super::http::{add_argument, completes_upload, unusable};
use super::sas::whole_seconds;
use super::service::Service;
use crate::format::layout::{Permanence, permanence_of};
use crate::model::{ObjectKey, Timestamp};
use crate::port::{Clock, PortError, PortErrorKind};

/// A day, and what S3 takes at most: a hundred years.
const PERIOD_MIN: Duration = Duration::from_secs(24 * 60 * 60);
const PERIOD_MAX: Duration = Duration::from_secs(36_500 * 24 * 60 * 60);

/// For how long a store is to keep objects as they are, and who may end that before its time.
///
/// The bucket must have been made for it: with object lock on S3, with support for version-level immutability on Azure, with object
/// retention on Google.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Immutability {
    period: Duration,
    binds_all: bool,
    has_legal_hold: bool,
}

impl Immutability {
    /// For `period`, unless somebody has the permission to shorten that: S3's and Google's `GOVERNANCE`, Azure's unlocked policy.
    pub const fn governance(period: Duration) -> Self {
        Self { period, binds_all: false, has_legal_hold: false }
    }

    /// For `period`, and nobody can shorten that, not even who owns the account: S3's and Google's `COMPLIANCE`, Azure's locked policy. What is
    /// stored by mistake, or by a clock that is ahead, is paid for until its time is over.
    pub const fn compliance(period: Duration) -> Self {
        Self { period, binds_all: true, has_legal_hold: false }
    }

    /// What is created from now on gets a legal hold as well: it stays until somebody takes that away, by other means than this library. S3 and
    /// Azure have that.
    pub const fn legal_hold(self) -> Self {
        Self { has_legal_hold: true, ..self }
    }

    /// What S3 and Google call it.
    fn mode(self) -> &'static str {
        if self.binds_all { "COMPLIANCE" } else { "GOVERNANCE" }
    }
}

/// What is asked of a store beside what a request says, until a time.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ask {
    /// To keep immutable what the request creates.
    Create(Timestamp),
    /// Only to keep immutable what is there. The body of the request says for how long.
    Renew(Timestamp),
}

/// How a store is asked to keep objects immutable.
#[derive(Clone)]
pub(super) struct Promise {
    immutability: Immutability,
    service: Service,
    /// What stands before the keys of objects in a URL of Azure's.
    directory: String,
    clock: Arc<dyn Clock>,
}

impl Promise {
    /// That of the bucket `bucket`, of which names begin with `root`.
    pub(super) fn new(
        immutability: Immutability,
        service: Service,
        (bucket, root): (&str, &str),
        clock: Arc<dyn Clock>,
    ) -> Result<Self, PortError> {
        let invalid = |why: &str| Err(PortError::new(PortErrorKind::Invalid, why));
        if !(PERIOD_MIN..=PERIOD_MAX).contains(&immutability.period) {
            return invalid("objects can be immutable for a day at least, and for 36500 at most");
        }
        if immutability.has_legal_hold && service == Service::Google {
            return invalid("Google takes no legal holds by the XML API");
        }
        let directory = format!("/{bucket}/{root}");
        Ok(Self { immutability, service, directory, clock })
    }

    pub(super) fn period(&self) -> Duration {
        self.immutability.period
    }

    pub(super) fn until(&self) -> Timestamp {
        self.clock.now().saturating_add(self.period())
    }

    /// Whether the object `key` is to be immutable. Google cannot replace what is.
    pub(super) fn covers(&self, key: &ObjectKey) -> bool {
        match permanence_of(key) {
            Permanence::Fact => true,
            Permanence::State => self.service != Service::Google,
            Permanence::Note => false,
        }
    }

    /// The body of a request that renews.
    pub(super) fn renewal(&self, until: Timestamp) -> String {
        let (mode, until) = (self.immutability.mode(), whole_seconds(until));
        match self.service {
            Service::Azure => String::new(),
            Service::S3 | Service::Google => {
                format!("<Retention><Mode>{mode}</Mode><RetainUntilDate>{until}</RetainUntilDate></Retention>")
            }
        }
    }

    /// Adds to `request` what is asked; `false` if that is nothing.
    pub(super) fn amend(&self, request: &mut HttpRequest) -> Result<bool, HttpError> {
        match request.extensions().get::<Ask>().copied() {
            Some(Ask::Create(until)) => self.create(request.headers_mut(), until)?,
            Some(Ask::Renew(until)) => self.renew(request, until)?,
            None if self.completes(request) => self.create(request.headers_mut(), self.until())?,
            None => return Ok(false),
        }
        Self::checksum(request.headers_mut())?;
        Ok(true)
    }

    /// Azure learns only at the end of an upload what it is for.
    fn completes(&self, request: &HttpRequest) -> bool {
        let key = || request.uri().path().split_once(&self.directory)?.1.parse().ok();
        self.service == Service::Azure && completes_upload(request) && key().is_some_and(|key| self.covers(&key))
    }

    fn create(&self, headers: &mut HeaderMap, until: Timestamp) -> Result<(), HttpError> {
        self.policy(headers, until)?;
        match self.service {
            Service::S3 if self.immutability.has_legal_hold => insert(headers, "x-amz-object-lock-legal-hold", "ON"),
            Service::Azure if self.immutability.has_legal_hold => insert(headers, "x-ms-legal-hold", "true"),
            _ => Ok(()),
        }
    }

    /// S3 makes nothing immutable of which it is not told how its checksum was made.
    fn checksum(headers: &mut HeaderMap) -> Result<(), HttpError> {
        let algorithms = [("x-amz-checksum-sha256", "SHA256"), ("x-amz-checksum-crc64nvme", "CRC64NVME")];
        let told = algorithms.into_iter().find(|(name, _)| headers.contains_key(*name));
        told.map_or(Ok(()), |(_, algorithm)| insert(headers, "x-amz-sdk-checksum-algorithm", algorithm))
    }

    fn policy(&self, headers: &mut HeaderMap, until: Timestamp) -> Result<(), HttpError> {
        let (mode, seconds) = (self.immutability.mode(), whole_seconds(until));
        let policy = if self.immutability.binds_all { "locked" } else { "unlocked" };
        let [(mode_name, mode), (until_name, until)] = match self.service {
            Service::S3 => [("x-amz-object-lock-mode", mode), ("x-amz-object-lock-retain-until-date", &*seconds)],
            Service::Google => [("x-goog-object-lock-mode", mode), ("x-goog-object-lock-retain-until-date", &*seconds)],
            Service::Azure => {
                [("x-ms-immutability-policy-mode", policy), ("x-ms-immutability-policy-until-date", &*http_date(until))]
            }
        };
        insert(headers, mode_name, mode)?;
        insert(headers, until_name, until)
    }

    /// Makes of a request that stores its body one that changes only for how long the object is immutable.
    fn renew(&self, request: &mut HttpRequest, until: Timestamp) -> Result<(), HttpError> {
        let argument = if self.service == Service::Azure { "comp=immutabilityPolicies" } else { "retention" };
        add_argument(request, argument)?;
        let headers = request.headers_mut();
        // What is said of an object when it is stored.
        for name in OF_NEW_OBJECTS {
            headers.remove(name);
        }
        if self.service == Service::Azure { self.policy(headers, until) } else { Ok(()) }
    }
}

/// Headers that the library adds to whatever stores an object, and that mean nothing, or too much, where one is only renewed.
const OF_NEW_OBJECTS: [&str; 7] = [
    "content-type",
    "x-ms-blob-type",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-bucket-key-enabled",
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-server-side-encryption-customer-key",
];

/// The library wants a version of whatever it takes for a new object.
pub(super) fn with_version(mut response: HttpResponse) -> HttpResponse {
    response.headers_mut().entry("etag").or_insert(HeaderValue::from_static("\"renewed\""));
    response
}

fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) -> Result<(), HttpError> {
    headers.insert(name, HeaderValue::from_str(value).map_err(unusable)?);
    Ok(())
}

/// RFC 1123, as HTTP has its dates.
fn http_date(time: Timestamp) -> String {
    let (date, text) = (time.date(), time.to_string());
    let (weekday, month) = (date.weekday().to_string(), date.month().to_string());
    let clock = text.split(['T', '.']).nth(1).unwrap_or_default();
    format!("{weekday:.3}, {:02} {month:.3} {:04} {clock} GMT", date.day(), date.year())
}

impl fmt::Debug for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Promise").field("immutability", &self.immutability).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_http() {
        for (time, date) in [
            ("2026-11-30T16:03:52.999Z", "Mon, 30 Nov 2026 16:03:52 GMT"),
            ("2027-01-09T00:00:00Z", "Sat, 09 Jan 2027 00:00:00 GMT"),
            ("2028-02-29T23:59:59Z", "Tue, 29 Feb 2028 23:59:59 GMT"),
        ] {
            assert_eq!(http_date(time.parse().unwrap()), date);
        }
    }
}
