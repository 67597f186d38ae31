//! Doing the work for servers.

use std::sync::Arc;

use pitr::engine::{Error, ErrorKind};
use pitr::service::BackupService;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::Known;

/// Does the work for the servers, until whoever holds the other end of `stopped` lets go of it.
pub(crate) async fn tend(
    service: &BackupService,
    provider: Arc<Known>,
    stopped: watch::Receiver<()>,
) -> Result<(), Error> {
    loop {
        let mut stopped = stopped.clone();
        let stop = async move { while stopped.changed().await.is_ok() {} };
        match service.tend(provider.clone(), stop).await {
            // Others took this process for dead: it begins anew.
            Err(error) if error.kind() == ErrorKind::Fenced => {}
            tended => return tended,
        }
    }
}

/// By a terminal, or by whoever runs services.
pub(crate) async fn interrupted() {
    let mut asked = signal(SignalKind::terminate()).ok();
    let terminated = async {
        match &mut asked {
            Some(asked) => drop(asked.recv().await),
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
    }
}
