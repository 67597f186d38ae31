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
#[path = "../shared/mod.rs"]
mod shared;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use clap::Parser;
use pitr::adapter::postgres::LocalProvisioner;
use pitr::adapter::{KeyFile, system};
use pitr::engine::Repository;
use pitr::service::{BackupService, ServiceSettings};
use tokio::net::TcpListener;
use tokio::sync::watch;

use self::auth::Doors;
use self::live::Live;
use self::shared::{Known, Price, directory, interrupted, storage, tend};

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
    #[arg(long, default_value = "0.095")]
    price: Price,
}

/// What pages are made of.
#[derive(Clone, Debug)]
struct Portal {
    service: BackupService,
    doors: Arc<Doors>,
    live: Live,
    price: Price,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let made = arguments.servers.map(LocalProvisioner::new);
    let mut settings = ServiceSettings::default();
    if let Some(made) = &made {
        settings = settings.provisioner(Arc::new(made.clone()));
    }
    let service = BackupService::new(open(&arguments.repository, &arguments.key).await?, settings);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, arguments.port)).await?;
    let doors = Arc::new(Doors::new(listener.local_addr()?.port())?);
    println!("http://{}/", listener.local_addr()?);
    println!("token: {}", doors.token());
    let portal = Portal { live: Live::of(&service), service: service.clone(), doors, price: arguments.price };
    let (stop, stopped) = watch::channel(());
    let mut tending = tokio::spawn(async move { tend(&service, Arc::new(Known { made }), stopped).await });
    tokio::select! {
        served = axum::serve(listener, routes(portal)) => served?,
        // It could not even begin.
        tended = &mut tending => return Ok(tended??),
        () = interrupted() => {}
    }
    drop(stop);
    Ok(tending.await??)
}

async fn open(place: &str, key: &Path) -> Result<Repository> {
    if directory(place).is_some_and(|directory| !directory.exists()) {
        return Err(format!("there is no repository in {place}").into());
    }
    let keys = KeyFile::open(key, system().entropy)?;
    Ok(Repository::new(storage(place).await?, Arc::new(keys), system()))
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
