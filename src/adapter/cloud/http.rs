//! What passes between a store and its HTTP client: counted, made conditional, and refused in the store's own words.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};
use object_store::{ClientOptions, HeaderMap, HeaderValue};

use super::classes::Classes;
use super::immutability::{Ask, Promise, with_version};
use super::past::{Versions, with_length};
use super::requests::Counters;
use super::signer::Signer;
use crate::port::PortErrorKind;

/// Makes the HTTP client of a store.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    pub(super) counters: Counters,
    /// Whether what completes an upload is made conditional.
    pub(super) creates: bool,
    /// Azure learns only then which tier an object of many parts is for.
    pub(super) tiers: Classes,
    /// What is to be immutable.
    pub(super) promise: Option<Promise>,
    pub(super) signer: Signer,
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        // The library takes the process's provider of TLS; a program that has chosen one keeps it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Observed { client, connector: self.clone() }))
    }
}

impl Connector {
    /// Adds to `request` what the library has no way to say; `false` if that is nothing.
    fn amend(&self, request: &mut HttpRequest) -> Result<bool, HttpError> {
        let lists = Versions::amend(request)?;
        let promises = self.promise.as_ref().map_or(Ok(false), |promise| promise.amend(request))?;
        Ok(lists || promises)
    }
}

#[derive(Debug)]
struct Observed {
    client: HttpClient,
    connector: Connector,
}

#[async_trait]
impl HttpService for Observed {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if self.connector.creates && completes_upload(&request) {
            // Neither S3's signature nor one in a URL covers this header.
            request.headers_mut().insert("if-none-match", HeaderValue::from_static("*"));
            if let Some(tier) = self.connector.tiers.of_path(request.uri().path()).cloned() {
                request.headers_mut().insert("x-ms-access-tier", tier);
            }
        }
        if self.connector.amend(&mut request)? {
            self.connector.signer.sign(&mut request).await?;
        }
        self.connector.counters.count(&request);
        let renews = matches!(request.extensions().get(), Some(Ask::Renew(_)));
        let lists = request.extensions().get::<Versions>().is_some();
        let deletes = is_batch(&request);
        let response = self.client.execute(request).await?;
        match response.status().as_u16() {
            status if needs_explaining(status) => Err(refused(Refusal::read(response).await)),
            202 if deletes => deleted(response).await,
            200 if renews => Ok(with_version(response)),
            200 if lists => with_length(response).await,
            _ => Ok(response),
        }
    }
}

/// Whether `request` is a batch of Azure, which only ever holds deletions.
fn is_batch(request: &HttpRequest) -> bool {
    request.method() == "POST" && arguments(request).any(|argument| argument == "comp=batch")
}

/// The answer to a batch, unless it holds one deletion, and that was refused.
async fn deleted(response: HttpResponse) -> Result<HttpResponse, HttpError> {
    let (head, body) = response.into_parts();
    let body = body.bytes().await?;
    match Refusal::in_batch(&String::from_utf8_lossy(&body)) {
        Some(refusal) => Err(refused(refusal)),
        None => Ok(HttpResponse::from_parts(head, body.into())),
    }
}

fn refused(refusal: Refusal) -> HttpError {
    HttpError::new(HttpErrorKind::Interrupted, refusal)
}

/// Whether `request` makes an object of parts: S3's `CompleteMultipartUpload`, Azure's `Put Block List`.
///
/// Uploads only ever create objects, and the library below has no way to say so.
pub(super) fn completes_upload(request: &HttpRequest) -> bool {
    let mut arguments = arguments(request);
    match request.method().as_str() {
        "POST" => arguments.any(|argument| argument.starts_with("uploadId=")),
        "PUT" => arguments.any(|argument| argument == "comp=blocklist"),
        _ => false,
    }
}

/// Adds an argument to what `request` asks for.
pub(super) fn add_argument(request: &mut HttpRequest, argument: &str) -> Result<(), HttpError> {
    let uri = request.uri();
    let between = if uri.query().is_some() { '&' } else { '?' };
    *request.uri_mut() = format!("{uri}{between}{argument}").parse().map_err(unusable)?;
    Ok(())
}

pub(super) fn unusable<E: Error + Send + Sync + 'static>(error: E) -> HttpError {
    HttpError::new(HttpErrorKind::Request, error)
}

/// What stands behind the question mark.
pub(super) fn arguments(request: &HttpRequest) -> impl Iterator<Item = &str> {
    request.uri().query().unwrap_or_default().split('&')
}

/// Whether an answer of this status says more than the library below makes of it.
fn needs_explaining(status: u16) -> bool {
    matches!(status, 408 | 409 | 429 | 500..)
}

/// Why a store did not do what it was asked to, in its own words.
#[derive(Debug)]
pub(super) struct Refusal {
    status: u16,
    /// The store's name for it, as `SlowDown`.
    code: Option<String>,
    retry_after: Option<Duration>,
}

/// What the answer to each request of a batch begins with.
const STATUS_LINE: &str = "HTTP/1.1 ";
/// No name of an error stands further from the beginning of a body.
const CODE_WITHIN: usize = 4096;

impl Refusal {
    async fn read(response: HttpResponse) -> Self {
        let (status, retry_after) = (response.status().as_u16(), retry_after(response.headers()));
        let in_header = text(response.headers(), "x-ms-error-code").map(str::to_owned);
        let code = match in_header {
            Some(code) => Some(code),
            None => element(&String::from_utf8_lossy(&beginning(response).await), "Code"),
        };
        Self { status, code, retry_after }
    }

    /// Why the request of a batch was refused, if it holds one, and that was. That there is nothing to delete is none.
    fn in_batch(body: &str) -> Option<Self> {
        let (_, answer) = body.split_once(STATUS_LINE).filter(|(_, rest)| !rest.contains(STATUS_LINE))?;
        let status = answer.split(' ').next()?.parse().ok()?;
        let field = |wanted: &str| {
            let mut fields = answer.lines().filter_map(|line| line.split_once(": "));
            fields.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim().to_owned())
        };
        let retry_after = || seconds(&field("retry-after")?);
        let refused = Self { status, code: field("x-ms-error-code"), retry_after: retry_after() };
        Some(refused).filter(|_| !matches!(status, 200..300 | 404))
    }

    /// What can be done about it.
    pub(super) fn kind(&self) -> PortErrorKind {
        match (self.status, self.code.as_deref()) {
            (409, Some("BlobAlreadyExists")) => PortErrorKind::Conflict,
            // S3: a conflicting request is under way, and which of the two wins is not known yet.
            (409, None | Some("ConditionalRequestConflict" | "OperationAborted")) => PortErrorKind::Unavailable,
            // Azure: a policy, a lease, or what was archived.
            (409, Some(_)) => PortErrorKind::Denied,
            // Within a batch; 412 is a lease of Azure's.
            (401 | 403 | 412, _) => PortErrorKind::Denied,
            (507, _) => PortErrorKind::NoSpace,
            (501, _) => PortErrorKind::Invalid,
            _ => PortErrorKind::Unavailable,
        }
    }

    /// How long the store asks to be left alone.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the store answered {}", self.status)?;
        self.code.as_ref().map_or(Ok(()), |code| write!(f, " ({code})"))
    }
}

impl Error for Refusal {}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// In seconds; dates, which HTTP allows as well, come from no store.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    seconds(text(headers, "retry-after")?)
}

fn seconds(text: &str) -> Option<Duration> {
    text.trim().parse().ok().map(Duration::from_secs)
}

/// As much of the body as names an error.
async fn beginning(response: HttpResponse) -> Vec<u8> {
    let mut body = response.into_body().bytes_stream().boxed();
    let mut read = Vec::new();
    while let Ok(Some(chunk)) = body.try_next().await {
        read.extend_from_slice(&chunk[..chunk.len().min(CODE_WITHIN - read.len())]);
        if read.len() == CODE_WITHIN {
            break;
        }
    }
    read
}

/// What stands in the first element `name` of a body of XML.
pub(super) fn element(body: &str, name: &str) -> Option<String> {
    let (_, rest) = body.split_once(&format!("<{name}>"))?;
    let (content, _) = rest.split_once(&format!("</{name}>"))?;
    Some(content.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, code: Option<&str>) -> Refusal {
        Refusal { status, code: code.map(str::to_owned), retry_after: None }
    }

    #[test]
    fn refusals_say_what_can_be_done() {
        for (status, code, kind) in [
            (503, Some("SlowDown"), PortErrorKind::Unavailable),
            (429, None, PortErrorKind::Unavailable),
            (409, Some("ConditionalRequestConflict"), PortErrorKind::Unavailable),
            (409, Some("BlobAlreadyExists"), PortErrorKind::Conflict),
            (409, Some("BlobImmutableDueToPolicy"), PortErrorKind::Denied),
            (507, None, PortErrorKind::NoSpace),
        ] {
            assert_eq!(refusal(status, code).kind(), kind, "{status} {code:?}");
        }
        assert_eq!(refusal(503, Some("SlowDown")).to_string(), "the store answered 503 (SlowDown)");
    }

    #[test]
    fn what_was_refused_within_a_batch_is_found() {
        let body = |status: &str, fields: &str| {
            format!(
                "--batch_1\r\nContent-Type: application/http\r\nContent-ID: 0\r\n\r\nHTTP/1.1 {status}\r\n{fields}\r\n\r\n--batch_1--\r\n"
            )
        };
        let refusal = |status, fields| Refusal::in_batch(&body(status, fields));
        let locked =
            refusal("409 This operation is not permitted.", "x-ms-error-code: BlobImmutableDueToPolicy").unwrap();
        assert_eq!(locked.kind(), PortErrorKind::Denied);
        assert_eq!(locked.to_string(), "the store answered 409 (BlobImmutableDueToPolicy)");
        let busy = refusal("503 Server busy.", "X-Ms-Error-Code: ServerBusy\r\nRetry-After: 7").unwrap();
        assert_eq!((busy.kind(), busy.retry_after()), (PortErrorKind::Unavailable, Some(Duration::from_secs(7))));
        assert!(refusal("202 Accepted", "x-ms-delete-type-permanent: true").is_none());
        assert!(refusal("404 The specified blob does not exist.", "x-ms-error-code: BlobNotFound").is_none());
        assert!(Refusal::in_batch("no batch").is_none());
    }

    #[test]
    fn a_code_is_found_in_a_body() {
        let body = "<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Reduce your rate.</Message></Error>";
        assert_eq!(element(body, "Code").as_deref(), Some("SlowDown"));
        assert_eq!(element(body, "Message").as_deref(), Some("Reduce your rate."));
        assert_eq!(element("<html>Bad gateway</html>", "Code"), None);
    }

    #[test]
    fn only_what_makes_an_object_of_parts_completes_an_upload() {
        let request = |method: &str, uri: &str| {
            let mut request = HttpRequest::new(Vec::new().into());
            *request.method_mut() = method.parse().unwrap();
            *request.uri_mut() = uri.parse().unwrap();
            request
        };
        assert!(completes_upload(&request("POST", "https://host/bucket/key?uploadId=abc")));
        assert!(completes_upload(&request("PUT", "https://host/container/key?comp=blocklist&sig=x")));
        for (method, uri) in [
            ("POST", "https://host/bucket/key?uploads="),
            ("PUT", "https://host/bucket/key?partNumber=1&uploadId=abc"),
            ("PUT", "https://host/container/key?comp=block&blockid=abc"),
            ("PUT", "https://host/bucket/key"),
            ("DELETE", "https://host/bucket/key?uploadId=abc"),
        ] {
            assert!(!completes_upload(&request(method, uri)), "{method} {uri}");
        }
    }
}
