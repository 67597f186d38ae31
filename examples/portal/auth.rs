//! Who may come in: whoever has the token gets a session; whoever has a session, and sends a form that was made in it, may change something.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Form;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use crate::shared::secret;
use crate::{Portal, Result, pages};

const COOKIE: &str = "pitr_session";
/// How long a session lasts that nobody uses.
const IDLE_MAX: Duration = Duration::from_secs(8 * 60 * 60);
const SESSIONS_MAX: usize = 100;
/// How long whoever has a wrong token waits.
const PENALTY: Duration = Duration::from_secs(1);
/// No form is longer.
const FORM_BYTES_MAX: usize = 64 << 10;

/// Who is in.
#[derive(Debug)]
pub(crate) struct Doors {
    token: Secret,
    /// The names by which it can be asked for: a page elsewhere whose name was made to mean this machine has another.
    hosts: [String; 2],
    sessions: Mutex<BTreeMap<String, Session>>,
    /// Who guesses, guesses one after the other.
    guessing: tokio::sync::Mutex<()>,
}

struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

/// Somebody who came in.
#[derive(Clone)]
pub(crate) struct Session {
    /// What forms must have.
    pub(crate) form: String,
    used: Instant,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

impl Doors {
    pub(crate) fn new(port: u16) -> Result<Self> {
        let hosts = [format!("127.0.0.1:{port}"), format!("localhost:{port}")];
        Ok(Self { token: Secret(secret()?), hosts, sessions: Mutex::default(), guessing: Default::default() })
    }

    pub(crate) fn token(&self) -> &str {
        &self.token.0
    }

    /// A new session, and what its cookie says.
    fn admit(&self) -> Result<String> {
        let (id, form) = (secret()?, secret()?);
        let mut sessions = self.sessions();
        sessions.retain(|_, session| session.used.elapsed() < IDLE_MAX);
        if sessions.len() >= SESSIONS_MAX
            && let Some(oldest) = sessions.iter().min_by_key(|(_, session)| session.used).map(|(id, _)| id.clone())
        {
            sessions.remove(&oldest);
        }
        sessions.insert(id.clone(), Session { form, used: Instant::now() });
        Ok(id)
    }

    fn find(&self, headers: &HeaderMap) -> Option<Session> {
        let mut sessions = self.sessions();
        let session = sessions.get_mut(cookie(headers)?).filter(|session| session.used.elapsed() < IDLE_MAX)?;
        session.used = Instant::now();
        Some(session.clone())
    }

    fn sessions(&self) -> MutexGuard<'_, BTreeMap<String, Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, value)| value)
}

/// In time that does not depend on where they differ.
fn is_same(a: &str, b: &str) -> bool {
    let differences = a.bytes().zip(b.bytes()).fold(0, |all, (a, b)| all | (a ^ b));
    a.len() == b.len() && differences == 0
}

#[derive(Deserialize)]
pub(crate) struct Login {
    token: String,
}

pub(crate) async fn login(State(portal): State<Portal>, Form(Login { token }): Form<Login>) -> Response {
    if !is_same(token.trim(), portal.doors.token()) {
        let _alone = portal.doors.guessing.lock().await;
        tokio::time::sleep(PENALTY).await;
        return (StatusCode::FORBIDDEN, pages::login_again()).into_response();
    }
    match portal.doors.admit() {
        Ok(id) => {
            let cookie = format!("{COOKIE}={id}; HttpOnly; SameSite=Strict; Path=/");
            ([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

pub(crate) async fn logout(State(portal): State<Portal>, headers: HeaderMap) -> Response {
    if let Some(id) = cookie(&headers) {
        portal.doors.sessions().remove(id);
    }
    let cookie = format!("{COOKIE}=; Max-Age=0; HttpOnly; SameSite=Strict; Path=/");
    ([(header::SET_COOKIE, cookie)], Redirect::to("/login")).into_response()
}

/// Lets in who has a session, and lets change who sends its forms: no handler can forget to ask.
pub(crate) async fn guard(State(portal): State<Portal>, mut request: Request, next: Next) -> Response {
    let Some(session) = portal.doors.find(request.headers()) else {
        return match *request.method() {
            Method::GET => Redirect::to("/login").into_response(),
            _ => StatusCode::UNAUTHORIZED.into_response(),
        };
    };
    if request.method() == Method::POST {
        let (parts, body) = request.into_parts();
        let Ok(body) = to_bytes(body, FORM_BYTES_MAX).await else {
            return StatusCode::PAYLOAD_TOO_LARGE.into_response();
        };
        let form: Vec<(String, String)> = serde_urlencoded::from_bytes(&body).unwrap_or_default();
        let is_meant = form.iter().any(|(name, value)| name == "form" && is_same(value, &session.form));
        if !is_meant {
            return (StatusCode::FORBIDDEN, "this form was not made in this session").into_response();
        }
        request = Request::from_parts(parts, Body::from(body));
    }
    request.extensions_mut().insert(session);
    next.run(request).await
}

/// Answers to nobody who asks for another host, and lets pages do nothing but what is theirs.
pub(crate) async fn harden(State(portal): State<Portal>, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    if !host.is_some_and(|host| portal.doors.hosts.iter().any(|known| known == host)) {
        return (StatusCode::MISDIRECTED_REQUEST, "this is not the host that you ask for").into_response();
    }
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Pictures bring their own styles; nothing brings a script of its own.
const HEADERS: [(header::HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (header::X_FRAME_OPTIONS, "DENY"),
];
