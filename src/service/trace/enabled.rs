//! Tells the program's subscriber of events, by the crate `tracing`.

use tracing::{debug, info, warn};

use crate::model::ServerName;
use crate::service::Happening;

/// What fails is a warning, what comes all the time is for debugging.
pub(super) fn tell(server: &ServerName, what: &Happening) {
    let event = what.name();
    match what {
        Happening::Failed(..) | Happening::Unreachable(_) | Happening::Gap(_) => warn!(%server, event, "{what}"),
        Happening::Surveyed(_) | Happening::Archived(_) | Happening::Restoring(..) => debug!(%server, event, "{what}"),
        _ => info!(%server, event, "{what}"),
    }
}
