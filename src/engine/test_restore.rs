//! Test restores: proofs that backups can be restored.

use std::sync::Arc;

use super::error::{Context, Error, ErrorKind, Result};
use super::inventory::Inventory;
use super::names;
use super::progress::{Observer, Progress};
use super::restore::{Restore, RestoreSettings};
use super::server::ServerRepository;
use crate::model::{Catalog, ObjectKey, RestoreProof, Timestamp, Trial};
use crate::plan::{RestorePlan, RestoreRequest, Target, recovery_window};
use crate::port::{PutMode, Scratch, ScratchPlace, StorageExt, explain};

/// How a test restore is made.
#[derive(Clone, Debug, Default)]
pub struct TestRestoreSettings {
    instant: Option<Timestamp>,
    keeps_failed: bool,
    observer: Observer<Progress>,
    planned: Observer<RestorePlan>,
}

impl TestRestoreSettings {
    /// Restores this instant. Unless set, one at random, of all instants that can be restored on the current timeline each as likely as any other.
    #[must_use]
    pub fn at(self, instant: Timestamp) -> Self {
        Self { instant: Some(instant), ..self }
    }

    /// Leaves in the scratch place what could not be restored, or is not sound, for somebody to look at. The next test restore clears it.
    #[must_use]
    pub fn keep_failed(self) -> Self {
        Self { keeps_failed: true, ..self }
    }

    /// Who is told of the plan, before anything that it needs is read: to see to it that this is not deleted meanwhile.
    #[must_use]
    pub fn planned(self, planned: Observer<RestorePlan>) -> Self {
        Self { planned, ..self }
    }

    /// Who is told of progress: first of the files', then of the log's.
    #[must_use]
    pub fn observer(self, observer: Observer<Progress>) -> Self {
        Self { observer, ..self }
    }
}

/// Restores a server on trial, and records what that has shown.
///
/// It proves what an operator would rely on: the files and the log are there, open, and are what was stored; PostgreSQL recovers with them to
/// where the plan said, and reads all of its tables; where `amcheck` is at hand, it checks them and their B-tree indexes. The server that is protected is not asked for anything, nor is anything written to
/// its backups but the record.
#[derive(Debug)]
pub struct TestRestore {
    server: ServerRepository,
    scratch: Arc<dyn Scratch>,
    settings: TestRestoreSettings,
}

impl TestRestore {
    /// Restores `server` in `scratch`.
    #[must_use]
    pub fn new(server: &ServerRepository, scratch: Arc<dyn Scratch>) -> Self {
        Self { server: server.clone(), scratch, settings: TestRestoreSettings::default() }
    }

    /// With these settings.
    #[must_use]
    pub fn settings(self, settings: TestRestoreSettings) -> Self {
        Self { settings, ..self }
    }

    /// Restores, looks, and records. What cannot be restored is no error, but a proof that [says so](RestoreProof::failure): it is recorded too. So is what cannot be
    /// read of the catalog, without which other instants may be lost.
    ///
    /// It takes as long as a restore and reading everything; whoever has not as much time drops the future, which leaves no server behind, and no
    /// record.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if there is nothing to restore, or not the instant that was asked for; [`ErrorKind::Conflict`] if the scratch place is taken. And if
    /// the storage cannot be asked, or does not take the record: then nothing is known.
    #[cfg_attr(feature = "tracing", tracing::instrument(name = "test_restore", skip_all, fields(server = %self.server.name())))]
    pub async fn run(self) -> Result<RestoreProof> {
        let begun = self.server.clock.now();
        let Inventory { mut catalog, unreadable } = self.server.inventory().await?;
        let instant = self.choose(&catalog, &unreadable)?;
        let mut proof = RestoreProof::new(begun, instant);
        proof.failure = unreadable.first().map(|(_, error)| explain(error));
        match self.server.plan(&mut catalog, &RestoreRequest::new(Target::time(instant))).await {
            Ok(Ok(plan)) => {
                self.settings.planned.tell(&plan);
                self.carry_out(&plan, proof).await
            }
            // What cannot be read may be why.
            Ok(Err(_)) if proof.failure.is_some() => self.record(proof).await,
            Ok(Err(refused)) => {
                Err(Error::new(ErrorKind::InvalidInput, "the instant cannot be restored").caused_by(refused))
            }
            Err(error) if error.is_of_object() => {
                proof.failure = Some(explain(&error));
                self.record(proof).await
            }
            Err(error) => Err(error),
        }
    }

    fn choose(&self, catalog: &Catalog, unreadable: &[(ObjectKey, Error)]) -> Result<Timestamp> {
        let instant = match (self.settings.instant, catalog.current()) {
            (Some(instant), _) => Some(instant),
            (None, Some(branch)) => recovery_window(catalog, branch).instant(self.random()?),
            (None, None) => None,
        };
        instant.ok_or_else(|| {
            let advice = unreadable.first().map_or_else(
                || "take a snapshot first".to_owned(),
                |(_, error)| format!("what there is cannot be read: {}", explain(error)),
            );
            Error::new(ErrorKind::InvalidInput, format!("no instant can be restored: {advice}"))
        })
    }

    fn random(&self) -> Result<u64> {
        let mut random = [0; 8];
        self.server.vault.entropy.fill(&mut random).context(|| "choosing an instant")?;
        Ok(u64::from_be_bytes(random))
    }

    /// Tries it out, records what was found, and clears up.
    async fn carry_out(&self, plan: &RestorePlan, mut proof: RestoreProof) -> Result<RestoreProof> {
        let place = self.scratch.prepare().await.context(|| "preparing the scratch place")?;
        proof.route = Some(plan.route());
        let tried = self.try_out(plan, &*place, &mut proof).await;
        let failure = match &tried {
            Ok(()) => proof.trial.as_ref().and_then(|trial| fault(proof.instant, plan, trial)),
            Err(error) => Some(explain(error)),
        };
        proof.failure = failure.or(proof.failure);
        let is_kept = proof.failure.is_some() && self.settings.keeps_failed;
        let recorded = match tried {
            Err(error) if !error.is_of_object() => Err(error),
            _ => self.record(proof).await,
        };
        if !is_kept {
            place.clear().await.context(|| "clearing the scratch place")?;
        }
        recorded
    }

    /// Restores and starts the server, if there is something to start it with; else reads its log to the end.
    async fn try_out(&self, plan: &RestorePlan, place: &dyn ScratchPlace, proof: &mut RestoreProof) -> Result<()> {
        let begun = self.server.clock.elapsed();
        let settings = RestoreSettings::default().observer(self.settings.observer.clone());
        let feed = Restore::new(&self.server, plan.clone(), place.target()).settings(settings).run().await?;
        let took = self.server.clock.elapsed().saturating_sub(begun);
        proof.files_millis = Some(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        if !place.has_postgres() {
            return feed.read().await;
        }
        let trial = async { place.try_out().await.context(|| "trying out the restored server") };
        proof.trial = Some(feed.run_beside(trial).await?);
        Ok(())
    }

    async fn record(&self, mut proof: RestoreProof) -> Result<RestoreProof> {
        proof.ended = self.server.clock.now();
        let name = self.server.layout.proof(&names::draw(&*self.server.vault.entropy, proof.begun)?);
        self.server.write_record(&name, &proof, PutMode::Create).await?;
        Ok(proof)
    }
}

/// What is wrong with a server that came up, if anything is: it did not recover to where `plan` says, or not all of it can be read.
fn fault(instant: Timestamp, plan: &RestorePlan, trial: &Trial) -> Option<String> {
    let (reached, first, last) = (trial.reached, plan.snapshot().wal.end, plan.stop().end);
    if reached < first || reached > last {
        return Some(format!("recovery ended at {reached}, but should have between {first} and {last}"));
    }
    if let Some(commit) = trial.last_commit.filter(|commit| *commit > instant) {
        return Some(format!("a transaction was replayed that ended at {commit}, after {instant}"));
    }
    let more = if trial.faults.len() > 1 { format!(", and {} more", trial.faults.len() - 1) } else { String::new() };
    trial.faults.first().map(|fault| format!("{fault}{more}"))
}

/// What test restores of a server have shown.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Proofs {
    /// Their records, oldest first.
    pub proofs: Vec<RestoreProof>,
    /// Those that cannot be read, and why.
    pub unreadable: Vec<(ObjectKey, Error)>,
}

impl ServerRepository {
    /// The records of all [test restores](TestRestore), of which a [sweep](super::Sweeper) deletes those that are older than 400 days.
    ///
    /// # Errors
    /// If the storage cannot be read.
    pub async fn proofs(&self) -> Result<Proofs> {
        let directory = self.layout.proofs();
        let listed = self.vault.storage.list_all(Some(&directory)).await.context(|| format!("listing {directory}"))?;
        let names = listed.into_iter().map(|object| object.key).collect();
        let (mut proofs, unreadable) = self.read_records::<RestoreProof>(names).await?;
        proofs.sort_by_key(|proof| proof.begun);
        Ok(Proofs { proofs, unreadable })
    }
}
