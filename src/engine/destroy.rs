//! Destroying a deleted server: first its key, then its data.

use std::time::Duration;

use futures::TryStreamExt;

use super::delete::{self, DELETED_AT_A_TIME};
use super::error::{Context, Error, ErrorKind, Result};
use super::keys::{unwrap, wrap};
use super::repository::Repository;
use super::server::ServerRepository;
use crate::format::layout::ServerLayout;
use crate::format::seal::KeyId;
use crate::model::{Change, Deletion, ObjectKey, ServerName, StoredObject};
use crate::plan::ChangeRefusal;
use crate::port::{PutMode, StorageExt};

/// For how long a name is not used again: a request to delete something of the one before is not under way for so long.
const NAME_REST: Duration = Duration::from_secs(24 * 60 * 60);

/// What became of a deleted server.
#[derive(Debug)]
#[non_exhaustive]
pub struct DestroyReport {
    /// Who deleted it, and when.
    pub deletion: Deletion,
    /// How many objects were deleted now.
    pub objects: u64,
    /// The bytes that they took.
    pub bytes: u64,
    /// How many objects the storage would not let go yet, by an object lock or for want of permission. Nobody can open them.
    pub refused: u64,
    /// One of them, and why.
    pub first_refused: Option<(ObjectKey, Error)>,
}

impl DestroyReport {
    fn note(&mut self, (object, refused): delete::Deletion) {
        match refused {
            Some(error) => {
                self.refused += 1;
                self.first_refused.get_or_insert((object.key, error));
            }
            None => {
                self.objects += 1;
                self.bytes += object.bytes;
            }
        }
    }
}

/// What stays of a server whose key is destroyed: the key that took its place, and who deleted it.
#[derive(Debug)]
pub(crate) struct Grave {
    name: ServerName,
    layout: ServerLayout,
    id: KeyId,
    key: ObjectKey,
    note: ObjectKey,
}

impl Grave {
    /// That of the server `name`, in the place of whose key the key `id` is.
    fn new(name: &ServerName, id: KeyId) -> Self {
        let layout = ServerLayout::new(name);
        Self { name: name.clone(), id, key: layout.key(), note: layout.deletion(id), layout }
    }

    fn keeps(&self, object: &ObjectKey) -> bool {
        [&self.key, &self.note].contains(&object)
    }
}

impl Repository {
    /// Destroys the server `name`, which is [deleted](Change::Delete), and whose deletion cannot be undone any more: first its key, in the place of
    /// which another one comes that opens nothing but the note of who deleted it; then all else. From the moment at which the key was replaced, nobody can
    /// open what it has, whatever becomes of the rest. (Where the store keeps versions, it keeps the wrapped key as it was, too: until it lets go of that, only
    /// destroying the wrapping key helps.)
    ///
    /// Interrupted at any moment, it goes on when it is called again; so call it daily until nothing is refused. A worker that has not noticed yet may
    /// store something after that: this is deleted by the next call.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there never was such a server; [`ErrorKind::InvalidInput`] if it is not deleted, and [`ErrorKind::Conflict`] if that can
    /// still be undone: nothing was destroyed then. Else if the storage fails.
    #[cfg_attr(feature = "tracing", tracing::instrument(name = "destroy", skip_all, fields(server = %name)))]
    pub async fn destroy_server(&self, name: &ServerName) -> Result<DestroyReport> {
        let (deletion, grave) = self.destroy_key(name).await?;
        let mut report = DestroyReport { deletion, objects: 0, bytes: 0, refused: 0, first_refused: None };
        self.purge(&grave, &mut report).await?;
        Ok(report)
    }

    /// How the server `name` was deleted, if it was.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there never was such a server.
    pub async fn deletion(&self, name: &ServerName) -> Result<Option<Deletion>> {
        let server = self.unlock(name).await?;
        match self.deletion_of(&server).await? {
            Some(deletion) => Ok(Some(deletion)),
            None => Ok(server.config().await?.deletion),
        }
    }

    /// What says who deleted the server, if its key was destroyed.
    pub(super) async fn deletion_of(&self, server: &ServerRepository) -> Result<Option<Deletion>> {
        let note = server.layout.deletion(server.vault.keys.current().id());
        Ok(server.find_record(&note).await?.map(|(deletion, _)| deletion))
    }

    /// Makes sure that the key of the deleted server `name` is destroyed, and says what stays of it.
    pub(crate) async fn destroy_key(&self, name: &ServerName) -> Result<(Deletion, Grave)> {
        loop {
            let (wrapped, version) = self.wrapped(name).await?;
            let key = unwrap(&*self.keys, name, &wrapped).await?;
            let server = self.open(name.clone(), self.vault(name, self.ring_of(name, key).await?));
            if let Some(deletion) = self.deletion_of(&server).await? {
                return Ok((deletion, Grave::new(name, wrapped.server_key_id())));
            }
            let deletion = match self.finished(&server).await {
                // Somebody else destroyed it meanwhile, or rotated its key.
                Err(_) if self.wrapped(name).await?.0.server_key_id() != wrapped.server_key_id() => continue,
                finished => finished?,
            };
            let key = self.draw_key()?;
            let (grave, buried) =
                (Grave::new(name, key.id()), self.open(name.clone(), self.vault(name, (&key).into())));
            // Before the key: so whoever finds that key finds this too.
            buried.write_record(&grave.note, &deletion, PutMode::Create).await?;
            if self.replace_key(name, &wrap(&*self.keys, name, &key).await?, version).await? {
                return Ok((deletion, grave));
            }
            // Somebody else destroyed the key, or rotated it. What cannot be deleted of ours is of no use, and no harm.
            drop(self.storage.delete(&grave.note).await);
        }
    }

    /// How `server` was deleted, which nobody can undo.
    async fn finished(&self, server: &ServerRepository) -> Result<Deletion> {
        match server.config().await?.deletion {
            Some(deletion) if deletion.undo_until.is_none() => Ok(deletion),
            _ => {
                let finished = server.change(&self.house()?, Change::FinishDeletion).await?;
                let not_deleted = || Error::refused("nothing was destroyed", ChangeRefusal::NotDeleted);
                finished.config.deletion.ok_or_else(not_deleted)
            }
        }
    }

    /// Deletes all that a server has whose key is destroyed, but for that which says so.
    async fn purge(&self, grave: &Grave, report: &mut DestroyReport) -> Result<()> {
        let (layout, mut gathered) = (&grave.layout, Vec::new());
        // Keys that were retired first: they open what the one opened that is destroyed.
        for directory in [layout.all_retired_keys(), layout.root().clone()] {
            let mut listing = self.storage.list(Some(&directory), None);
            while let Some(object) = listing.try_next().await.context(|| format!("listing {directory}"))? {
                if !grave.keeps(&object.key) {
                    gathered.push(StoredObject::new(object.key, object.bytes));
                }
                if gathered.len() == DELETED_AT_A_TIME {
                    self.delete_of(grave, &mut gathered, report).await?;
                }
            }
            drop(listing);
            self.delete_of(grave, &mut gathered, report).await?;
        }
        Ok(())
    }

    /// Deletes what was gathered of the server in `grave`. Whoever stood still for so long that its name is used again by now deletes nothing.
    async fn delete_of(
        &self,
        grave: &Grave,
        gathered: &mut Vec<StoredObject>,
        report: &mut DestroyReport,
    ) -> Result<()> {
        if gathered.is_empty() {
            return Ok(());
        }
        let id = self.find_wrapped(&grave.name).await?.map(|(wrapped, _)| wrapped.server_key_id());
        if id != Some(grave.id) {
            return Err(Error::new(ErrorKind::Conflict, format!("{} is of another server by now", grave.key)));
        }
        for deletion in delete::delete_all(&*self.storage, &std::mem::take(gathered)).await? {
            report.note(deletion);
        }
        Ok(())
    }

    /// Makes sure that no deleted server has the name `name`, or stands in its way.
    pub(super) async fn clear_name(&self, name: &ServerName) -> Result<()> {
        let Some((wrapped, version)) = self.find_wrapped(name).await? else { return Ok(()) };
        let layout = ServerLayout::new(name);
        if !self.storage.exists(&layout.deletion(wrapped.server_key_id())).await.context(|| "looking for a deletion")? {
            return Ok(());
        }
        let server = self.unlock(name).await?;
        let Some(deletion) = self.deletion_of(&server).await? else { return Ok(()) };
        self.ensure_rested(&Grave::new(name, wrapped.server_key_id()), deletion).await?;
        let notes = self.storage.list_all(Some(&layout.deletions())).await.context(|| "listing deletions")?;
        if self.replace_key(name, &wrap(&*self.keys, name, &self.draw_key()?).await?, version).await? {
            let notes: Vec<_> = notes.into_iter().map(|note| note.key).collect();
            self.storage
                .delete_all(&notes)
                .await
                .context(|| format!("deleting the notes of who deleted server {name}"))?;
        }
        Ok(())
    }

    /// Whether the name of the server in `grave` can be used again.
    async fn ensure_rested(&self, grave: &Grave, deletion: Deletion) -> Result<()> {
        let free_at = deletion.at.saturating_add(NAME_REST);
        let taken = |why: String| {
            let context = format!("server {} was {deletion}: {why}", grave.name);
            Err(Error::new(ErrorKind::Conflict, context).caused_by(ChangeRefusal::Deleted(deletion.clone())))
        };
        if self.environment.clock.now() < free_at {
            return taken(format!("its name can be used again from {free_at} on"));
        }
        let root = grave.layout.root();
        let mut listing = self.storage.list(Some(root), None);
        while let Some(object) = listing.try_next().await.context(|| format!("listing {root}"))? {
            if !grave.keeps(&object.key) {
                return taken("its name can be used again once all that it had is gone".to_owned());
            }
        }
        Ok(())
    }
}
