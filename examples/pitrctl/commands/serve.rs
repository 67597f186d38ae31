//! Doing the work.

use std::fmt::{self, Display};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use pitr::adapter::postgres::{LocalProvisioner, ScratchDirectory};
use pitr::model::{ServerName, Timestamp};
use pitr::service::{Events, ServiceEvent, ServiceSettings};
use serde::Serialize;
use tokio::sync::watch;

use crate::cli::{Global, ServeArgs};
use crate::exit::Result;
use crate::output::Output;
use crate::shared::{Known, interrupted, tend};
use crate::world::World;

pub(crate) async fn run(global: &Global, arguments: ServeArgs) -> Result<()> {
    let ServeArgs { servers, trials, look_every, work_at_once } = arguments;
    let settings = ServiceSettings::default().look_every(Duration::from_secs(look_every));
    let mut settings = settings.work_at_once(work_at_once);
    let made = servers.map(LocalProvisioner::new);
    if let Some(made) = &made {
        settings = settings.provisioner(Arc::new(made.clone()));
    }
    if let Some(directory) = trials {
        settings = settings.scratch(Arc::new(ScratchDirectory::new(directory)));
    }
    let world = World::open(global, settings).await?;
    let telling = tokio::spawn(tell(world.output, world.service.subscribe()));
    let (stop, stopped) = watch::channel(());
    tokio::spawn(async move {
        interrupted().await;
        drop(stop);
    });
    let tended = tend(&world.service, Arc::new(Known { made }), stopped).await;
    // With the service, what it tells ends.
    drop(world);
    telling.await.ok();
    Ok(tended?)
}

/// Says what happens, in a line each.
async fn tell(output: Output, mut events: Events) {
    while let Some(event) = events.next().await {
        // Nobody reads it any more: the work goes on.
        drop(output.say(&Told::from(event)));
        let missed = events.missed();
        if missed > 0 {
            output.remark(&format!("{missed} more events were not told"));
        }
    }
}

#[derive(Serialize)]
struct Told {
    at: Timestamp,
    server: ServerName,
    event: &'static str,
    said: String,
}

impl From<ServiceEvent> for Told {
    fn from(ServiceEvent { server, what, .. }: ServiceEvent) -> Self {
        let (at, said) = (pitr::adapter::system().clock.now(), what.to_string());
        Self { at, server, event: what.name(), said }
    }
}

impl Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.at, self.server, self.said)
    }
}
