//! What there is to verify.

use std::collections::BTreeMap;

use futures::TryStreamExt;

use crate::engine::error::{Error, Result};
use crate::engine::inventory::{Inventory, Unreadable, blame};
use crate::engine::server::ServerRepository;
use crate::format::layout::{DataEntry, DataPart, ServerLayout};
use crate::format::record::LeaseRecord;
use crate::model::{ObjectKey, Role, SnapshotId, UsageLog};
use crate::port::{ObjectMeta, PortError};

/// What one snapshot stored, as it was listed: each part with its size in bytes.
pub(super) type Data = BTreeMap<DataPart, u64>;

static NOTHING: Data = Data::new();

/// Everything that is stored of a server.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) inventory: Inventory,
    pub(super) data: BTreeMap<SnapshotId, Data>,
    /// Outside the catalog, what nobody knows.
    pub(super) foreign: Vec<ObjectKey>,
}

impl Contents {
    /// Lists the data first: of what a snapshot is storing meanwhile, its record is then seen, if it was in time.
    pub(super) async fn read(server: &ServerRepository) -> Result<Self> {
        let (mut data, mut foreign) = (BTreeMap::<_, Data>::new(), Vec::new());
        let root = server.layout.root();
        let mut listing = server.vault.storage.list(Some(root), None);
        let failed = |error: PortError| Error::new(error.kind().into(), format!("listing {root}")).caused_by(error);
        while let Some(object) = listing.try_next().await.map_err(failed)? {
            match Found::of(server, &object) {
                Found::Data(DataEntry { snapshot, part, .. }) => {
                    data.entry(snapshot).or_default().insert(part, object.bytes);
                }
                Found::Foreign => foreign.push(object.key),
                Found::Known => {}
            }
        }
        drop(listing);
        let mut inventory = server.inventory().await?;
        inventory.unreadable.extend(server.proofs().await?.unreadable);
        inventory.unreadable.extend(unreadable_changes(server).await?);
        inventory.unreadable.extend(unreadable_restores(server).await?);
        inventory.unreadable.extend(unreadable_leases(server).await?);
        let usage = blame(server.layout.usage(), server.find_record::<UsageLog>(&server.layout.usage()).await)?;
        inventory.unreadable.extend(usage.err());
        Ok(Self { inventory, data, foreign })
    }

    /// What was listed of the data of the snapshot `id`.
    pub(super) fn data_of(&self, id: &SnapshotId) -> &Data {
        self.data.get(id).unwrap_or(&NOTHING)
    }
}

enum Found {
    Data(DataEntry),
    /// Looked at elsewhere.
    Known,
    Foreign,
}

impl Found {
    fn of(server: &ServerRepository, object: &ObjectMeta) -> Self {
        let (layout, key) = (&server.layout, &object.key);
        match layout.parse_data(key) {
            Some(entry) => Self::Data(entry),
            None if [layout.key(), layout.record(), layout.renewal(), layout.runs(), layout.usage()].contains(key) => {
                Self::Known
            }
            None if layout.parse_change(key).is_some() || layout.parse_restore(key).is_some() => Self::Known,
            None if Role::ALL.iter().any(|role| *key == layout.lease(*role)) => Self::Known,
            None if known_elsewhere(layout).iter().any(|directory| key.is_below(directory)) => Self::Known,
            None => Self::Foreign,
        }
    }
}

/// Directories that are read otherwise.
fn known_elsewhere(layout: &ServerLayout) -> [ObjectKey; 4] {
    [layout.catalog(), layout.all_retired_keys(), layout.proofs(), layout.deletions()]
}

/// Those of changes. Without the server's record, which is told elsewhere, it is not known what was recorded.
async fn unreadable_changes(server: &ServerRepository) -> Result<Vec<Unreadable>> {
    let changes = blame(server.layout.record(), server.changes().await)?;
    Ok(changes.map_or_else(|_| Vec::new(), |changes| changes.unreadable))
}

/// Those of restores, likewise.
async fn unreadable_restores(server: &ServerRepository) -> Result<Vec<Unreadable>> {
    let restores = blame(server.layout.record(), server.restores().await)?;
    Ok(restores.map_or_else(|_| Vec::new(), |restores| restores.unreadable))
}

async fn unreadable_leases(server: &ServerRepository) -> Result<Vec<Unreadable>> {
    let mut unreadable = Vec::new();
    for lease in Role::ALL.map(|role| server.layout.lease(role)) {
        let read = server.find_record::<LeaseRecord>(&lease).await;
        unreadable.extend(blame(lease, read)?.err());
    }
    Ok(unreadable)
}
