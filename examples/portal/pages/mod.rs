//! What is shown.

pub(crate) mod changes;
pub(crate) mod fleet;
pub(crate) mod manage;
pub(crate) mod plan;
pub(crate) mod restore;
pub(crate) mod server;

use std::error::Error;
use std::fmt::Display;
use std::str::FromStr;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};
use pitr::engine::{self, ErrorKind};
use pitr::model::Target;
use pitr::plan::PlanError;
use pitr::plan::health::Status;
use serde::{Deserialize, Serialize};

use crate::auth::Session;
use crate::shared::secret;

/// A page for who came in.
fn page(title: &str, session: &Session, main: &Markup) -> Markup {
    let out = html! {
        nav { a href="/" { "Servers" } }
        form method="post" action="/logout" { (sign(session)) button.plain { "Leave" } }
    };
    frame(title, &out, main)
}

fn frame(title: &str, corner: &Markup, main: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · pitr" }
                link rel="stylesheet" href="/style.css";
                script src="/portal.js" defer {}
            }
            body {
                a.skip href="#main" { "To the content" }
                header { a.home href="/" { "pitr" } (corner) }
                main id="main" { h1 { (title) } (main) }
            }
        }
    }
}

/// What makes a form one of this session.
fn sign(session: &Session) -> Markup {
    html! { input type="hidden" name="form" value=(session.form); }
}

/// What makes a form one request: whoever sends it twice, asks once.
fn request() -> Result<Markup, Failure> {
    let drawn = secret().map_err(|error| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(html! { input type="hidden" name="request" value=(drawn); })
}

pub(crate) async fn login() -> Markup {
    login_page(false)
}

pub(crate) fn login_again() -> Markup {
    login_page(true)
}

fn login_page(is_wrong: bool) -> Markup {
    let main = html! {
        form.card method="post" action="/login" {
            @if is_wrong { p.bad role="alert" { "This is not the token." } }
            label for="token" { "The token that the portal printed at its start" }
            input id="token" name="token" type="password" autocomplete="current-password" required autofocus;
            button { "Come in" }
        }
    };
    frame("Who is there?", &html! {}, &main)
}

pub(crate) async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("../style.css"))
}

pub(crate) async fn script() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("../portal.js"))
}

fn badge(status: Status) -> Markup {
    html! { span class=(format!("badge {status}")) { (status) } }
}

/// A point to restore to, as a page asks for it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Point {
    pub(crate) to: String,
    #[serde(default)]
    pub(crate) value: String,
}

impl Point {
    pub(crate) fn target(&self) -> Result<Target, Failure> {
        Ok(match self.to.as_str() {
            "latest" => Target::Latest,
            "earliest" => Target::Earliest,
            "snapshot" => Target::Snapshot(read(&self.value)?),
            "before" => Target::just_before(read(&self.value)?),
            _ => Target::time(read(&self.value)?),
        })
    }
}

/// Reads what somebody typed.
pub(crate) fn read<T: FromStr<Err: Display>>(text: &str) -> Result<T, Failure> {
    text.trim().parse().map_err(|error: T::Err| Failure::new(StatusCode::BAD_REQUEST, error.to_string()))
}

/// Why there is no page.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    why: String,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, why: impl Into<String>) -> Self {
        Self { status, why: why.into() }
    }
}

impl From<engine::Error> for Failure {
    fn from(error: engine::Error) -> Self {
        let status = match error.kind() {
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::Conflict | ErrorKind::Fenced => StatusCode::CONFLICT,
            ErrorKind::InvalidInput => StatusCode::BAD_REQUEST,
            ErrorKind::Denied => StatusCode::FORBIDDEN,
            ErrorKind::NoSpace => StatusCode::INSUFFICIENT_STORAGE,
            ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let causes = std::iter::successors(Some(&error as &dyn Error), |cause| (*cause).source());
        Self::new(status, causes.map(ToString::to_string).collect::<Vec<_>>().join(": "))
    }
}

impl From<PlanError> for Failure {
    fn from(refusal: PlanError) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, refusal.to_string())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let main = html! { p.bad role="alert" { (self.why) } p { a href="/" { "To all servers" } } };
        (self.status, frame("That cannot be", &html! {}, &main)).into_response()
    }
}
