//! Changing a server, and what it was before.

use futures::TryStreamExt;

use super::error::{Context, Error, ErrorKind, Result};
use super::server::ServerRepository;
use crate::format::layout::{ChangeEntry, ServerLayout};
use crate::format::record::ServerRecord;
use crate::model::{Caller, Change, ConfigChange, ObjectKey, RequestId, ServerName, Timestamp};
use crate::plan::{ChangeRefusal, apply_change};
use crate::port::{PutMode, StorageExt};

/// What was changed of a server, and what of that could not be read.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Changes {
    /// The changes, oldest first. The last one says what the server is.
    pub changes: Vec<ConfigChange>,
    /// Records of changes that are damaged, foreign, or of a newer version.
    pub unreadable: Vec<(ObjectKey, Error)>,
}

impl ServerRepository {
    /// Changes the server at the request of `caller`, and says what it is then.
    ///
    /// All that must hold is checked on the state that the change replaces, which is compared and swapped: changes of several processes come one after
    /// the other, and none slips past a lock. A request that was made before changes nothing, and gives what it gave then. After an error by which it is
    /// not known whether the change was made, make the same request again.
    ///
    /// # Errors
    /// By a [`ChangeRefusal`](crate::plan::ChangeRefusal), which is the error's source: [`ErrorKind::Denied`] if a lock forbids it,
    /// [`ErrorKind::NotFound`] if the server is deleted, or has not what is to be changed, [`ErrorKind::Conflict`] if it has already what is to be made,
    /// [`ErrorKind::InvalidInput`] if it cannot be configured so. The last also if the request was made before, for something else.
    #[cfg_attr(feature = "tracing", tracing::instrument(name = "change", skip_all, fields(server = %self.name())))]
    pub async fn change(&self, caller: &Caller, change: Change) -> Result<ConfigChange> {
        loop {
            let (record, version) = self.versioned_record().await?;
            if let Some(made) = self.made_in(&caller.request, &record.latest).await? {
                let made = self.repeated(made, &change)?;
                return self.ensure_in_time(&change).await.map(|()| made);
            }
            self.ensure_possible(&change).await?;
            let at = self.clock.now();
            let refused =
                |refusal| Error::refused(format!("server {} cannot be changed: {change}", self.name()), refusal);
            let config = apply_change(record.config(), caller, &change, at).map_err(refused)?;
            let next = record.latest.next(at, caller.clone(), change.clone(), config);
            self.keep(&record.latest).await?;
            let record = ServerRecord { latest: next, ..record };
            match self.write_record(&self.layout.record(), &record, version).await {
                // Somebody changed it meanwhile: whoever won made progress, so this ends.
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                replaced => {
                    replaced?;
                    self.ensure_in_time(&change).await?;
                    return Ok(record.latest);
                }
            }
        }
    }

    /// All changes of the server: who did what, when, and what it was since. Those of more than 400 days ago are forgotten, but for the last of them.
    ///
    /// # Errors
    /// If the storage, or the server's record, cannot be read.
    pub async fn changes(&self) -> Result<Changes> {
        let latest = self.versioned_record().await?.0.latest;
        let entries = self.recorded_changes().await?.into_iter().take_while(|entry| entry.revision < latest.revision);
        let names = entries.map(|entry| self.layout.change(&entry)).collect();
        let (mut changes, unreadable) = self.read_records(names).await?;
        changes.push(latest);
        Ok(Changes { changes, unreadable })
    }

    /// The last change that was made by `at`: what the server was at that instant. `None` if it was not protected yet.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn config_at(&self, at: Timestamp) -> Result<Option<ConfigChange>> {
        let latest = self.versioned_record().await?.0.latest;
        if latest.at <= at {
            return Ok(Some(latest));
        }
        let entries = self.recorded_changes().await?.into_iter().rev();
        match entries.filter(|entry| entry.revision < latest.revision).find(|entry| entry.at <= at) {
            Some(entry) => self.read_record(&self.layout.change(&entry)).await.map(Some),
            None => Ok(None),
        }
    }

    /// The change that was made in `request`, if one was.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn change_of(&self, request: &RequestId) -> Result<Option<ConfigChange>> {
        self.made_in(request, &self.versioned_record().await?.0.latest).await
    }

    /// Whether the server was created by the request that `creation` was to be made by.
    pub(super) async fn was_made_by(&self, creation: &ConfigChange) -> Result<bool> {
        let latest = self.versioned_record().await?.0.latest;
        match self.made_in(&creation.caller.request, &latest).await? {
            Some(made) if made.config == creation.config && made.change == creation.change => Ok(true),
            Some(made) => Err(self.reused(&made)),
            None => Ok(false),
        }
    }

    /// What the request `request` changed, if it was made before. Whoever then replaces `latest` can be sure that nobody made it meanwhile.
    async fn made_in(&self, request: &RequestId, latest: &ConfigChange) -> Result<Option<ConfigChange>> {
        if latest.caller.request == *request {
            return Ok(Some(latest.clone()));
        }
        let made = self.recorded_changes().await?.into_iter();
        let made = made.filter(|entry| entry.revision < latest.revision).find(|entry| entry.request == *request);
        match made {
            Some(entry) => self.read_record(&self.layout.change(&entry)).await.map(Some),
            None => Ok(None),
        }
    }

    /// What a request gives that was made before.
    fn repeated(&self, made: ConfigChange, change: &Change) -> Result<ConfigChange> {
        if made.change == *change { Ok(made) } else { Err(self.reused(&made)) }
    }

    fn reused(&self, made: &ConfigChange) -> Error {
        let ConfigChange { caller, change, at, .. } = made;
        let context = format!(
            "request {} was made for server {} before, for something else: {change} at {at}; draw another one",
            caller.request,
            self.name()
        );
        Error::new(ErrorKind::InvalidInput, context)
    }

    /// Whether what is to be held is there, and what is to be made is not.
    async fn ensure_possible(&self, change: &Change) -> Result<()> {
        match change {
            Change::PlaceHold { snapshot, .. } if !self.recorded_snapshots().await?.contains_key(snapshot) => {
                Err(Error::new(ErrorKind::NotFound, format!("server {} has no snapshot {snapshot}", self.name())))
            }
            Change::Restore(spec) => self.ensure_new(&spec.name).await,
            _ => Ok(()),
        }
    }

    /// Whether no server `name` is protected beside this one.
    async fn ensure_new(&self, name: &ServerName) -> Result<()> {
        let record = ServerLayout::new(name).record();
        if !self.vault.storage.exists(&record).await.context(|| format!("looking for {record}"))? {
            return Ok(());
        }
        let context = format!("server {} cannot be restored as {name}", self.name());
        Err(Error::refused(context, ChangeRefusal::NameTaken(name.clone())))
    }

    /// Whether what was held was not about to expire. A sweep that noted so before may have seen the hold, or not.
    async fn ensure_in_time(&self, change: &Change) -> Result<()> {
        let Change::PlaceHold { snapshot, .. } = change else { return Ok(()) };
        if !self.is_expiring(snapshot).await? {
            return Ok(());
        }
        let context = format!(
            "snapshot {snapshot} is held, but was about to be deleted: look whether it is there once the sweep is over"
        );
        Err(Error::new(ErrorKind::Conflict, context))
    }

    /// Records for good what is about to be replaced.
    async fn keep(&self, change: &ConfigChange) -> Result<()> {
        match self.write_record(&self.layout.change(&change.into()), change, PutMode::Create).await {
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
            kept => kept.map(drop),
        }
    }

    /// The changes that have a record of their own, oldest first: all but the latest one.
    pub(super) async fn recorded_changes(&self) -> Result<Vec<ChangeEntry>> {
        let directory = self.layout.changes();
        let listed = self.vault.storage.list(Some(&directory), None);
        let entries = listed.try_filter_map(async |object| Ok(self.layout.parse_change(&object.key)));
        entries.try_collect().await.context(|| format!("listing {directory}"))
    }
}
