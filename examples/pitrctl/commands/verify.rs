//! Whether backups are what they should be.

use std::fmt::{self, Display};
use std::path::PathBuf;
use std::sync::Arc;

use indicatif::HumanBytes;
use pitr::adapter::postgres::{PgInstall, ScratchDirectory};
use pitr::engine::{
    Fault, Observer, TestRestore, TestRestoreSettings, Verifier, VerifyDepth, VerifyProgress, VerifyReport,
    VerifySettings,
};
use pitr::model::{ObjectKey, RestoreProof, ServerName, StoredObject, Timestamp};
use serde::Serialize;

use crate::exit::{Result, unwell};
use crate::output::Lines;
use crate::world::World;

pub(crate) async fn run(world: &World, server: &ServerName, quick: bool) -> Result<()> {
    let spinner = world.output.spinner("verifying");
    let shown = spinner.clone();
    let observer = Observer::new(move |progress: &VerifyProgress| {
        shown.set_message(format!("{} objects, {}", progress.objects, HumanBytes(progress.bytes)));
    });
    let depth = if quick { VerifyDepth::Quick } else { VerifyDepth::Full };
    let settings = VerifySettings::default().depth(depth).observer(observer);
    let report = Verifier::new(world.service.repository(), server).settings(settings).run().await?;
    spinner.finish_and_clear();
    world.output.say(&Report::from(&report))?;
    unwell(report.is_sound())
}

#[derive(Serialize)]
struct Report<'a> {
    objects: u64,
    bytes: u64,
    faults: Vec<Found<'a>>,
    unreferenced: &'a [StoredObject],
}

#[derive(Serialize)]
struct Found<'a> {
    object: &'a ObjectKey,
    said: String,
    costs: String,
}

impl<'a> From<&'a VerifyReport> for Report<'a> {
    fn from(report: &'a VerifyReport) -> Self {
        let found = |fault: &'a Fault| Found {
            object: &fault.object,
            said: fault.to_string(),
            costs: report.costs(fault).to_string(),
        };
        let faults = report.faults.iter().map(found).collect();
        Self { objects: report.objects, bytes: report.bytes, faults, unreferenced: &report.unreferenced }
    }
}

impl Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} objects of {} were verified: ", self.objects, HumanBytes(self.bytes))?;
        match self.faults.len() {
            0 => f.write_str("all is well")?,
            count => write!(f, "{count} faults")?,
        }
        let faults: Vec<_> =
            self.faults.iter().map(|fault| format!("{}\n    costs {}", fault.said, fault.costs)).collect();
        write!(f, "{}", Lines("  ", &faults))?;
        match self.unreferenced {
            [] => Ok(()),
            objects => {
                write!(f, "\n{} objects are of snapshots that are being taken, or were interrupted", objects.len())
            }
        }
    }
}

pub(crate) async fn prove(world: &World, server: &ServerName, directory: PathBuf, at: Option<Timestamp>) -> Result<()> {
    let repository = world.server(server).await?;
    let major = repository.spec().await?.postgres;
    let scratch = ScratchDirectory::new(directory).postgres(PgInstall::discover(Some(major))?);
    let (bar, observer) = world.output.progress("restore on trial");
    let settings = TestRestoreSettings::default().observer(observer);
    let settings = match at {
        Some(at) => settings.at(at),
        None => settings,
    };
    let proof = TestRestore::new(&repository, Arc::new(scratch)).settings(settings).run().await?;
    bar.finish_and_clear();
    let is_well = proof.failure.is_none();
    world.output.say(&Proof(proof))?;
    unwell(is_well)
}

#[derive(Serialize)]
#[serde(transparent)]
struct Proof(RestoreProof);

impl Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(proof) = self;
        write!(f, "{} was restored on trial, in {:.1?}", proof.instant, proof.duration())?;
        if let Some(trial) = &proof.trial {
            write!(f, ": PostgreSQL {} recovered up to {}, ", trial.postgres, trial.reached)?;
            write!(f, "and {} relations in {} databases could be read", trial.relations, trial.databases)?;
        }
        proof.failure.as_ref().map_or(Ok(()), |failure| write!(f, "\nfailed: {failure}"))
    }
}
