//! A portal: how servers are, what of them can be restored, what that would take, and the restore itself, in a browser.
//!
//! It does the work for the servers, too, as `pitrctl serve` does, so that the progress of restores is seen. `pitrctl protect` says which servers there are.
//!
//! ```text
//! portal --repository PLACE --key FILE --servers DIRECTORY
//! ```
//!
//! It listens on the loopback interface only, and prints the address and a token at its start: whoever has that may come in. To let others in, put it behind a
//! proxy that knows them.
#![allow(clippy::print_stdout, reason = "whoever starts it is told how to come in")]

mod actions;
mod auth;
mod chart;
mod live;
mod pages;
mod place;
#[path = "../shared/sources.rs"]
mod shared;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use clap::Parser;
use pitr::adapter::postgres::LocalProvisioner;
use pitr::engine::ErrorKind;
use pitr::service::{BackupService, ServiceSettings};
use tokio::net::TcpListener;
use tokio::sync::watch;

use self::auth::Doors;
use self::live::Live;
use self::shared::Known;

type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// Shows how PostgreSQL servers are backed up, and restores them, in a browser.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where the backups are: a directory, or `s3://BUCKET/DIRECTORY`, `az://CONTAINER/DIRECTORY`, `gs://BUCKET/DIRECTORY`.
    #[arg(long, env = "PITR_REPOSITORY", value_name = "PLACE")]
    repository: String,
    /// The file with the key that wraps the servers' keys.
    #[arg(long, env = "PITR_KEY", value_name = "FILE")]
    key: PathBuf,
    /// Where to make restored servers; unless it is given, that is left to others who serve.
    #[arg(long, value_name = "DIRECTORY")]
    servers: Option<PathBuf>,
    /// The port of 127.0.0.1; 0 is any that is free.
    #[arg(long, default_value_t = 7432)]
    port: u16,
    /// The price of a GiB of backup storage for a month, beyond what is free.
    #[arg(long, default_value_t = 0.095)]
    price: f64,
}

/// What pages are made of.
#[derive(Clone, Debug)]
struct Portal {
    service: BackupService,
    doors: Arc<Doors>,
    live: Live,
    price: f64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let made = arguments.servers.map(LocalProvisioner::new);
    let mut settings = ServiceSettings::default();
    if let Some(made) = &made {
        settings = settings.provisioner(Arc::new(made.clone()));
    }
    let service = BackupService::new(place::open(&arguments.repository, &arguments.key).await?, settings);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, arguments.port)).await?;
    let doors = Arc::new(Doors::new(listener.local_addr()?.port())?);
    println!("http://{}/", listener.local_addr()?);
    println!("token: {}", doors.token());
    let portal = Portal { live: Live::of(&service), service: service.clone(), doors, price: arguments.price };
    let (stop, stopped) = watch::channel(());
    let tending = tokio::spawn(tend(service, Arc::new(Known { made }), stopped.clone()));
    let served = axum::serve(listener, routes(portal)).with_graceful_shutdown(until(stopped));
    tokio::select! {
        served = served => served?,
        () = interrupted() => {}
    }
    drop(stop);
    tending.await?
}

fn routes(portal: Portal) -> Router {
    Router::new()
        .route("/", get(pages::fleet::page))
        .route("/servers/{server}", get(pages::server::page))
        .route("/servers/{server}/changes", get(pages::changes::page))
        .route("/servers/{server}/change", post(actions::change))
        .route("/servers/{server}/retention", get(pages::manage::retention))
        .route("/servers/{server}/delete", get(pages::manage::delete))
        .route("/servers/{server}/plan", get(pages::plan::page))
        .route("/servers/{server}/restore", post(actions::restore))
        .route("/servers/{server}/restores/{restore}", get(pages::restore::page))
        .route("/servers/{server}/restores/{restore}/progress", get(pages::restore::progress))
        .route("/servers/{server}/restores/{restore}/cancel", post(actions::cancel))
        .route("/logout", post(auth::logout))
        .layer(axum::middleware::from_fn_with_state(portal.clone(), auth::guard))
        .route("/login", get(pages::login).post(auth::login))
        .route("/style.css", get(pages::style))
        .route("/portal.js", get(pages::script))
        .layer(axum::middleware::from_fn_with_state(portal.clone(), auth::harden))
        .with_state(portal)
}

/// Does the work for the servers, until `stopped`.
async fn tend(service: BackupService, provider: Arc<Known>, stopped: watch::Receiver<()>) -> Result<()> {
    loop {
        match service.tend(provider.clone(), until(stopped.clone())).await {
            // Others took this process for dead: it begins anew.
            Err(error) if error.kind() == ErrorKind::Fenced => {}
            tended => return Ok(tended?),
        }
    }
}

/// Until whoever could say so is gone.
async fn until(mut stopped: watch::Receiver<()>) {
    while stopped.changed().await.is_ok() {}
}

async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminated) = signal(SignalKind::terminate()) else { return };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated.recv() => {}
    }
}
