//! Whether a server runs in a data directory.

use std::fs;
use std::path::Path;

/// Whether a server runs in `data_directory`: its process ID is the first line of `postmaster.pid`, which it removes when it
/// ends (`src/backend/utils/init/miscinit.c`). One that was killed leaves the file behind; where processes cannot be looked
/// up, it counts as running.
pub(super) fn runs(data_directory: &Path) -> bool {
    let Ok(file) = fs::read_to_string(data_directory.join("postmaster.pid")) else { return false };
    let Some(pid) = file.lines().next().and_then(|line| line.trim().parse::<i64>().ok()) else { return false };
    let processes = Path::new("/proc");
    !processes.join("self").exists() || processes.join(pid.unsigned_abs().to_string()).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_runs_as_long_as_its_process() {
        let data = tempfile::tempdir().unwrap();
        assert!(!runs(data.path()));
        fs::write(data.path().join("postmaster.pid"), format!("{}\n/data\n", std::process::id())).unwrap();
        assert!(runs(data.path()));
        fs::write(data.path().join("postmaster.pid"), "torn").unwrap();
        assert!(!runs(data.path()));
    }
}
