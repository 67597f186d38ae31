//! What is known of a server.

use std::time::Duration;

use serde::Serialize;

use super::BackupService;
use super::server::facts_of;
use crate::engine::{Error, Result};
use crate::model::{Catalog, ConfigUpdate, RetentionDays, ServerConfig, ServerName, Snapshot, Timestamp};
use crate::plan::health::{Health, HealthCheck};
use crate::plan::retention::{Protections, RetentionChange, RetentionPolicy, retention_change};
use crate::plan::schedule::{Agenda, Schedule};
use crate::plan::usage::{DayUsage, ObservedRates, StoredBytes, Usage, UsageHistory};
use crate::plan::{
    Explanation, PlanError, RecoveryWindow, RestorePlan, RestoreRequest, explain_restore, recovery_window,
    recovery_windows, restorable_snapshots,
};
use crate::port::Clock;

/// Every day of the week, once.
const OBSERVED_DAYS: u8 = 7;

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

/// What a server's backups take.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ServerUsage {
    /// Now.
    pub now: Usage,
    /// On each UTC day that was asked for, oldest first: from the first backup on, and for 400 days.
    pub days: Vec<DayUsage>,
    /// The retention in force.
    pub retention: RetentionDays,
    /// The provisioned storage of the server, which is free.
    pub provisioned_bytes: u64,
    /// How much is added in a day: [`ObservedRates::forecast`] says what another retention would take, and cost.
    pub rates: ObservedRates,
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
        let mut snapshots: Vec<_> = restorable_snapshots(&catalog).cloned().collect();
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
        Ok(self.planned(server, request).await?.2)
    }

    /// The same, or the refusal, and why recovery would start from that snapshot, and from no other.
    ///
    /// # Errors
    /// As [`estimate`](Self::estimate); the inner one if there is nothing to choose from.
    pub async fn explain(
        &self,
        server: &ServerName,
        request: &RestoreRequest,
    ) -> Result<Result<Explanation, PlanError>> {
        let (catalog, request, _) = self.planned(server, request).await?;
        Ok(explain_restore(&catalog, &request))
    }

    /// What a server's backups take, and took in the last `past`.
    ///
    /// # Errors
    /// As [`status`](Self::status).
    pub async fn usage(&self, server: &ServerName, past: Duration) -> Result<ServerUsage> {
        let server = self.0.repository.server(server).await?;
        let (spec, catalog, now) = (server.spec().await?, server.inventory().await?.catalog, self.now());
        let mut days = server.usage_by_day(&catalog).await?;
        days.retain(|day| day.until > now.saturating_sub(past));
        Ok(ServerUsage {
            now: UsageHistory::new(StoredBytes::of(&catalog)).at(now),
            days,
            retention: spec.retention,
            provisioned_bytes: spec.storage_bytes,
            rates: ObservedRates::observe(StoredBytes::of(&catalog), now, spec.retention, OBSERVED_DAYS),
        })
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

    /// The plan for a request, the request by what was measured, and the catalog with what was read for it.
    async fn planned(
        &self,
        server: &ServerName,
        request: &RestoreRequest,
    ) -> Result<(Catalog, RestoreRequest, Result<RestorePlan, PlanError>)> {
        let server = self.0.repository.server(server).await?;
        let mut catalog = server.inventory().await?.catalog;
        let request = server.calibrated(request.clone()).await?;
        let plan = server.plan(&mut catalog, &request).await?;
        Ok((catalog, request, plan))
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock().now()
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        self.0.repository.clock()
    }
}
