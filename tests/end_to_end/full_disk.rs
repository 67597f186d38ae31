//! A restore that finds no room: it ends, says so, and leaves nothing that can be started.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use pitr::adapter::postgres::{DataDirectory, InitOptions};
use pitr::adapter::system;
use pitr::engine::{ErrorKind, Restore};
use pitr::plan::{RestoreRequest, Target, plan_restore};

use super::stand::{Stand, server_in, succeed};

const WORK: &str = "PITR_TEST_FULL_DISK";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_that_finds_no_room_ends() {
    let mut stand = Stand::new(15, &InitOptions::default()).await;
    let fill = "CREATE TABLE big AS SELECT repeat(md5(i::text), 30) FROM generate_series(1, 80000) i";
    stand.client().await.batch_execute(fill).await.unwrap();
    stand.archive();
    stand.snapshot_of_directory().await;
    stand.wait_all_archived().await;
    // Files of 20 MB at most, or of 40, as the shell counts. The signal of a longer one is ignored, so that it is an error.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -f 40960; exec \"$0\" \"$@\""]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", "full_disk::restoring_process", "--ignored"]).env(WORK, stand.scratch.path());
    succeed(&mut command);
    assert!(!stand.scratch.path().join("no-room/global/pg_control").exists(), "what is not whole can be started");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the child process of the test above, which runs it"]
async fn restoring_process() {
    let scratch = std::env::var(WORK).expect("only a child process runs this");
    let scratch = Path::new(&scratch);
    let server = server_in(scratch, system()).await;
    let catalog = server.inventory().await.unwrap().catalog;
    let plan = plan_restore(&catalog, &RestoreRequest::new(Target::Latest)).unwrap();
    let restore = Restore::new(&server, plan, Arc::new(DataDirectory::new(scratch.join("no-room"))));
    let restored = tokio::time::timeout(Duration::from_secs(60), restore.run()).await.expect("it ends");
    assert_eq!(restored.map(drop).unwrap_err().kind(), ErrorKind::NoSpace);
}
