//! What became of the work for a server.

use super::error::{ErrorKind, Result};
use super::server::ServerRepository;
use crate::format::record::RunLog;
use crate::plan::{CostModel, RestoreRequest};
use crate::port::PutMode;

impl ServerRepository {
    /// What became of the work for the server so far. A log that is damaged is as good as none: what it would say, time makes good.
    pub(crate) async fn run_log(&self) -> Result<RunLog> {
        match self.find_record(&self.layout.runs()).await {
            Ok(found) => Ok(found.map(|(runs, _)| runs).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::Corrupt => Ok(RunLog::default()),
            Err(error) => Err(error),
        }
    }

    /// `request`, by what test restores of the server measured, if it says nothing else.
    pub(crate) async fn calibrated(&self, request: RestoreRequest) -> Result<RestoreRequest> {
        if request.costs == CostModel::default() {
            return Ok(request.with_costs(CostModel::calibrated(self.run_log().await?.rates)));
        }
        Ok(request)
    }

    /// Notes what became of the work for the server. Whoever has the lease does.
    pub(crate) async fn note_runs(&self, runs: &RunLog) -> Result<()> {
        self.write_record(&self.layout.runs(), runs, PutMode::Overwrite).await.map(drop)
    }
}
