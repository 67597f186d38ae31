//! What is left to do after a restore.

mod difference;
mod incompatible;

pub use incompatible::{Incompatibility, IncompatibleRestore};

use crate::model::{Parameters, PostRestoreTask, ServerName, ServerSpec};

/// What a restore is for, and what was captured of the source beside its spec.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PostRestoreOptions {
    /// Whether the new server is meant to take the place of the original.
    pub replaces_original: bool,
    /// What the restored data takes, in bytes; `None` if that is not known.
    pub data_bytes: Option<u64>,
    /// The server parameters that were set at the restored instant; `None` if they were not captured.
    pub server_parameters: Option<Parameters>,
    /// The firewall and network rules at the restored instant, as their owner wrote them; `None` if they were not captured.
    pub network_rules: Option<Vec<String>>,
    /// The replicas that read from the source, if any are known of.
    pub read_replicas: Vec<ServerName>,
}

impl PostRestoreOptions {
    /// A server beside the original, of which nothing was captured.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, for a server that is meant to take the place of the original.
    #[must_use]
    pub const fn replacing_original(mut self) -> Self {
        self.replaces_original = true;
        self
    }

    /// The same, with data that take so many bytes.
    #[must_use]
    pub const fn with_data_bytes(mut self, bytes: u64) -> Self {
        self.data_bytes = Some(bytes);
        self
    }

    /// The same, with the server parameters that were set.
    #[must_use]
    pub fn with_server_parameters(mut self, parameters: Parameters) -> Self {
        self.server_parameters = Some(parameters);
        self
    }

    /// The same, with the firewall and network rules.
    #[must_use]
    pub fn with_network_rules(mut self, rules: Vec<String>) -> Self {
        self.network_rules = Some(rules);
        self
    }

    /// The same, with the replicas that read from the source.
    #[must_use]
    pub fn with_read_replicas(mut self, replicas: Vec<ServerName>) -> Self {
        self.read_replicas = replicas;
        self
    }
}

/// What is left to do after `source` was restored as `restored`: "Perform post-restore tasks" of Azure Database for
/// PostgreSQL – Flexible Server, and what else is not carried over. In the order of [`PostRestoreTask`], and always the same
/// for the same input.
///
/// Tags are their owner's: they are not compared.
///
/// # Errors
/// With every reason for which `restored` cannot be a restore of `source`. Call it before the restore, too.
///
/// # Example: a server that takes the place of the original
///
/// ```
/// use pitr::model::{PostRestoreTask, PostgresMajor, ServerSpec};
/// use pitr::plan::post_restore::{PostRestoreOptions, post_restore_tasks};
///
/// let mut source = ServerSpec::new("prod".parse()?, PostgresMajor::MAX);
/// source.high_availability = true;
/// let restored = source.restored_as("prod-2".parse()?);
/// let tasks = post_restore_tasks(&source, &restored, &PostRestoreOptions::new().replacing_original())?;
/// assert!(tasks.contains(&PostRestoreTask::HighAvailability), "a restored server has no standby");
/// let last = tasks.last().unwrap();
/// println!("{last}: {}", last.why());
/// assert!(matches!(last, PostRestoreTask::RedirectClients { .. }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn post_restore_tasks(
    source: &ServerSpec,
    restored: &ServerSpec,
    options: &PostRestoreOptions,
) -> Result<Vec<PostRestoreTask>, IncompatibleRestore> {
    incompatible::check(source, restored, options.data_bytes)?;
    let rules = PostRestoreTask::FirewallAndVnetRules { captured: options.network_rules.clone() };
    let mut tasks = vec![PostRestoreTask::TakeFirstSnapshot, rules, PostRestoreTask::LoginsAndPermissions];
    tasks.extend(parameters(options));
    tasks.extend(difference::differences(source, restored).into_iter().map(PostRestoreTask::Difference));
    tasks.extend(source.high_availability.then_some(PostRestoreTask::HighAvailability));
    tasks.extend(replicas(options));
    tasks.push(PostRestoreTask::ConfigureAlerts);
    let redirect = || PostRestoreTask::RedirectClients { from: source.name.clone(), to: restored.name.clone() };
    tasks.extend(options.replaces_original.then(redirect));
    Ok(tasks)
}

/// None if it is known that none were set.
fn parameters(options: &PostRestoreOptions) -> Option<PostRestoreTask> {
    let captured = options.server_parameters.clone();
    let none_set = captured.as_ref().is_some_and(Parameters::is_empty);
    (!none_set).then_some(PostRestoreTask::ServerParameters { captured })
}

fn replicas(options: &PostRestoreOptions) -> Option<PostRestoreTask> {
    let mut of_source = options.read_replicas.clone();
    of_source.sort_unstable();
    of_source.dedup();
    (!of_source.is_empty()).then_some(PostRestoreTask::ReadReplicas { of_source })
}

#[cfg(test)]
mod tests;
