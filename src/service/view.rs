//! What is known of a server.

use serde::Serialize;

use super::BackupService;
use super::server::facts_of;
use crate::engine::{Error, Result};
use crate::model::{ConfigUpdate, ServerConfig, ServerName, Snapshot, Timestamp};
use crate::plan::health::{Health, HealthCheck};
use crate::plan::retention::{Protections, RetentionChange, RetentionPolicy, retention_change};
use crate::plan::schedule::{Agenda, Schedule};
use crate::plan::usage::{StoredBytes, Usage, UsageHistory};
use crate::plan::{PlanError, RecoveryWindow, RestorePlan, RestoreRequest, recovery_window, recovery_windows};
use crate::port::Clock;

/// A server at a glance.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ServerStatus {
    /// What it is.
    pub config: ServerConfig,
    /// Since when it is protected.
    pub created_at: Timestamp,
    /// How well it is protected, and what to do about it.
    pub health: Health,
    /// The first instant that can be restored.
    pub earliest: Option<Timestamp>,
    /// The last one.
    pub latest: Option<Timestamp>,
    /// What is due, and what will be.
    pub agenda: Agenda,
    /// What its backups take.
    pub usage: Usage,
}

/// What can be restored of a server.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct RestorePoints {
    /// The instants, of every branch that the server was on; the current one is the first.
    pub windows: Vec<RecoveryWindow>,
    /// The snapshots, oldest first: each can be restored by itself, which takes the least time.
    pub snapshots: Vec<Snapshot>,
}

impl BackupService {
    /// What is known of a server now.
    ///
    /// # Errors
    /// Those of [`Repository::server`](crate::engine::Repository::server); or if the storage cannot be read.
    pub async fn status(&self, server: &ServerName) -> Result<ServerStatus> {
        let server = self.0.repository.server(server).await?;
        let (record, runs) = (server.versioned_record().await?.0, server.run_log().await?);
        let (catalog, proofs) = (server.inventory().await?.catalog, server.proofs().await?.proofs);
        let (config, created_at, now) = (record.latest.config, record.created_at, self.now());
        let schedule = Schedule::new(config.schedule.clone()).map_err(Error::unscheduled)?;
        let promised = config.kept_from.map_or(created_at, |kept_from| kept_from.max(created_at));
        let check = HealthCheck::new(&schedule, config.spec.retention).protected_since(promised);
        // A server that is stopped is as well as it was when it was.
        let at = config.paused_at.unwrap_or(now);
        let health = check.proofs(&proofs).faults(runs.faults).of(&catalog, at);
        let facts = facts_of(&config, created_at, &runs, &catalog, now);
        let agenda = schedule.agenda(server.name(), &facts, now);
        let window = catalog.current().map(|branch| recovery_window(&catalog, branch));
        let usage = UsageHistory::new(StoredBytes::of(&catalog)).at(now);
        let (earliest, latest) = window.map_or((None, None), |window| (window.earliest(), window.latest()));
        Ok(ServerStatus { config, created_at, health, earliest, latest, agenda, usage })
    }

    /// What can be restored of a server.
    ///
    /// # Errors
    /// As [`status`](Self::status).
    pub async fn restore_points(&self, server: &ServerName) -> Result<RestorePoints> {
        let catalog = self.0.repository.server(server).await?.inventory().await?.catalog;
        let mut windows = recovery_windows(&catalog);
        windows.sort_by_key(|window| Some(window.branch) != catalog.current());
        let usable = catalog.snapshots().filter(|snapshot| catalog.unusable(&snapshot.id).is_none());
        let mut snapshots: Vec<_> = usable.cloned().collect();
        snapshots.sort_by_key(|snapshot| snapshot.consistent_at);
        Ok(RestorePoints { windows, snapshots })
    }

    /// What a restore would take, how long, and where it would end; or why it cannot be, and what can instead. Nothing is restored. Costs that the
    /// request leaves as they are by default, are those that test restores of the server measured.
    ///
    /// # Errors
    /// As [`status`](Self::status); those of [`ServerRepository::plan`](crate::engine::ServerRepository::plan). The inner one is the planner's.
    pub async fn estimate(
        &self,
        server: &ServerName,
        request: &RestoreRequest,
    ) -> Result<Result<RestorePlan, PlanError>> {
        let server = self.0.repository.server(server).await?;
        let mut catalog = server.inventory().await?.catalog;
        server.plan(&mut catalog, &server.calibrated(request.clone()).await?).await
    }

    /// What an update would delete, or spare, if it were made now. Nothing is changed.
    ///
    /// # Errors
    /// As [`status`](Self::status).
    pub async fn preview(&self, server: &ServerName, update: &ConfigUpdate) -> Result<RetentionChange> {
        let server = self.0.repository.server(server).await?;
        let (config, catalog) = (server.config().await?, server.inventory().await?.catalog);
        let (old, new) = (RetentionPolicy::of(&config), RetentionPolicy::of(&update.clone().applied_to(&config)));
        Ok(retention_change(&catalog, &old, &new, &Protections::of(&config), self.now()))
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock().now()
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        self.0.repository.clock()
    }
}
