//! What fails in passing is tried again: as often as the policy says, and knowing what became of it.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use pitr::adapter::{OsEntropy, RetryPolicy, RetryStorage, ThreadPool};
use pitr::model::{ObjectKey, Timestamp};
use pitr::port::{Clock, Environment, Operation, PortErrorKind, PutMode, Storage, StorageExt};
use pitr::testing::{Fault, FaultyStorage, ManualClock};

use super::{directory, memory};

struct Stand {
    clock: ManualClock,
    faulty: FaultyStorage,
    storage: RetryStorage,
}

impl Stand {
    fn new(inner: Arc<dyn Storage>, policy: RetryPolicy) -> Self {
        let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
        let environment =
            Environment::new(Arc::new(clock.clone()), Arc::new(OsEntropy::new()), Arc::new(ThreadPool::default()));
        let faulty = FaultyStorage::new(inner);
        let storage = RetryStorage::new(Arc::new(faulty.clone()), policy, environment);
        Self { clock, faulty, storage }
    }

    fn of_memory() -> Self {
        Self::new(Arc::new(memory()), RetryPolicy::default())
    }

    /// What `future` gives, where time passes as soon as everybody waits for it.
    fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.clock.run(future)
    }

    fn fail(&self, operation: Operation, times: u64, fault: Fault) {
        for nth in (1..=times).filter_map(NonZeroU64::new) {
            self.faulty.fail_nth(nth, operation, fault);
        }
    }
}

fn key(name: &str) -> ObjectKey {
    name.parse().unwrap()
}

#[test]
fn what_fails_a_few_times_is_done() {
    let stand = Stand::of_memory();
    stand.fail(Operation::Put, 9, Fault::Before);
    stand.run(stand.storage.put(&key("a"), "content".into(), PutMode::Create)).unwrap();
    assert_eq!(stand.faulty.count(Operation::Put), 10);
    stand.fail(Operation::Head, 3, Fault::After);
    assert_eq!(stand.run(stand.storage.head(&key("a"))).unwrap().bytes, 7);
    stand.fail(Operation::Delete, 3, Fault::After);
    stand.run(stand.storage.delete(&key("a"))).unwrap();
    assert!(stand.run(stand.storage.find(&key("a"), 7)).unwrap().is_none());
}

#[test]
fn what_fails_for_good_is_not_tried_again() {
    let stand = Stand::of_memory();
    assert_eq!(stand.run(stand.storage.head(&key("a"))).unwrap_err().kind(), PortErrorKind::NotFound);
    assert_eq!(stand.faulty.count(Operation::Head), 1);
    assert_eq!(stand.clock.elapsed(), Duration::ZERO);
}

#[test]
fn it_gives_up_after_so_many_attempts_or_so_long() {
    let stand = Stand::of_memory();
    stand.faulty.crash_after(0);
    let error = stand.run(stand.storage.head(&key("a"))).unwrap_err();
    assert_eq!(error.kind(), PortErrorKind::Unavailable);
    assert!(error.to_string().starts_with("gave up after 10 attempts in "), "{error}");
    // 0.1 + 0.2 + … + 12.8 + 20 s at most.
    assert!(stand.clock.elapsed() < Duration::from_millis(45_600), "{:?}", stand.clock.elapsed());

    let mut policy = RetryPolicy::default();
    (policy.attempts_max, policy.deadline) = (1_000_000, Duration::from_secs(600));
    policy.budget = 1_000_000;
    let stand = Stand::new(Arc::new(memory()), policy);
    stand.faulty.crash_after(0);
    stand.run(stand.storage.head(&key("a"))).unwrap_err();
    let (elapsed, attempts) = (stand.clock.elapsed(), stand.faulty.count(Operation::Head));
    assert!(elapsed <= policy.deadline && elapsed > policy.deadline - policy.pause_max, "{elapsed:?}");
    assert!((40..130).contains(&attempts), "{attempts} attempts, where each waits for 10 s on the average");
}

/// Full jitter: those who failed together come back apart.
#[test]
fn pauses_are_random() {
    let pauses = (0..200).map(|_| {
        let stand = Stand::of_memory();
        stand.fail(Operation::Head, 3, Fault::Before);
        drop(stand.run(stand.storage.head(&key("a"))));
        stand.clock.elapsed()
    });
    let pauses: Vec<_> = pauses.collect();
    let mean = pauses.iter().sum::<Duration>() / 200;
    assert!((Duration::from_millis(300)..Duration::from_millis(400)).contains(&mean), "{mean:?}, not 0.35 s");
    assert!(pauses.iter().all(|pause| *pause <= Duration::from_millis(700)), "{:?}", pauses.iter().max());
}

#[test]
fn a_store_that_fails_every_time_is_left_in_peace() {
    let stand = Stand::of_memory();
    stand.faulty.crash_after(0);
    for _ in 0..1000 {
        stand.run(stand.storage.head(&key("a"))).unwrap_err();
    }
    assert_eq!(stand.faulty.count(Operation::Head), 1000 + u64::from(RetryPolicy::default().budget));
    let error = stand.run(stand.storage.head(&key("a"))).unwrap_err();
    assert!(error.to_string().ends_with("as nearly everything fails"), "{error}");
    stand.faulty.heal();
    for _ in 0..100 {
        assert_eq!(stand.run(stand.storage.head(&key("a"))).unwrap_err().kind(), PortErrorKind::NotFound);
    }
    // Not a success, so nothing was earned.
    stand.fail(Operation::Head, 1, Fault::Before);
    assert_eq!(stand.run(stand.storage.head(&key("a"))).unwrap_err().kind(), PortErrorKind::Unavailable);
    stand.run(stand.storage.put(&key("a"), "content".into(), PutMode::Overwrite)).unwrap();
    for _ in 0..10 {
        stand.run(stand.storage.head(&key("a"))).unwrap();
    }
    stand.fail(Operation::Head, 1, Fault::Before);
    stand.run(stand.storage.head(&key("a"))).unwrap();
}

#[test]
fn a_conditional_write_whose_answer_was_lost_is_recognised() {
    let stand = Stand::of_memory();
    let name = key("a");
    let put = |content: &'static str, mode: PutMode| stand.storage.put(&name, content.into(), mode);
    stand.fail(Operation::Put, 1, Fault::After);
    let created = stand.run(put("first", PutMode::Create)).unwrap();
    assert_eq!(stand.run(stand.storage.head(&key("a"))).unwrap().version, Some(created.clone()));
    stand.fail(Operation::Put, 1, Fault::After);
    let updated = stand.run(put("other", PutMode::Update(created.clone()))).unwrap();
    assert_eq!(stand.run(stand.storage.head(&key("a"))).unwrap().version, Some(updated));
    // Somebody else's, of the same length.
    stand.fail(Operation::Put, 1, Fault::Before);
    let late = stand.run(put("third", PutMode::Create)).unwrap_err();
    assert_eq!(late.kind(), PortErrorKind::Conflict);
    stand.fail(Operation::Put, 1, Fault::Before);
    let late = stand.run(put("third", PutMode::Update(created))).unwrap_err();
    assert_eq!(late.kind(), PortErrorKind::Conflict);
    assert_eq!(stand.run(stand.storage.find(&key("a"), 10)).unwrap().unwrap().0, "other");
}

#[test]
fn a_conditional_write_that_never_came_through_is_not_known() {
    let stand = Stand::of_memory();
    stand.fail(Operation::Put, 10, Fault::Before);
    let error = stand.run(stand.storage.put(&key("a"), "content".into(), PutMode::Create)).unwrap_err();
    assert_eq!(error.kind(), PortErrorKind::Unavailable);
    let version = stand.run(stand.storage.put(&key("a"), "content".into(), PutMode::Create)).unwrap();
    stand.fail(Operation::Put, 10, Fault::Before);
    let update = PutMode::Update(version);
    let error = stand.run(stand.storage.put(&key("a"), "others".into(), update)).unwrap_err();
    assert_eq!(error.kind(), PortErrorKind::Unavailable);
}

#[test]
fn an_upload_whose_end_was_lost_is_recognised() {
    let stand = Stand::of_memory();
    let upload = |content: &'static str| {
        let storage = stand.storage.clone();
        async move {
            let mut upload = storage.upload(&key("a")).await?;
            for piece in content.as_bytes().chunks(3) {
                upload.write(piece.into()).await?;
            }
            upload.finish().await
        }
    };
    stand.fail(Operation::Upload, 2, Fault::Before);
    stand.fail(Operation::Finish, 1, Fault::After);
    let version = stand.run(upload("some content")).unwrap();
    assert_eq!(stand.run(stand.storage.head(&key("a"))).unwrap().version, Some(version));
    stand.run(stand.storage.delete(&key("a"))).unwrap();
    stand.fail(Operation::Finish, 1, Fault::Before);
    assert_eq!(stand.run(upload("some content")).unwrap_err().kind(), PortErrorKind::Unavailable);
    assert!(stand.run(stand.storage.find(&key("a"), 100)).unwrap().is_none());
}

/// Bodies and listings that break off after a piece, whenever they are read.
#[tokio::test]
async fn what_breaks_off_goes_on() {
    let root = tempfile::tempdir().unwrap();
    let stand = Stand::new(Arc::new(directory(root.path()).await), RetryPolicy::default());
    let content: Vec<u8> = (0..3_000_000_u32).map(|number| number.to_le_bytes()[1]).collect();
    let names: Vec<_> = (0..9).map(|number| key(&format!("a/{number}"))).collect();
    for name in &names {
        stand.storage.put(name, content.clone().into(), PutMode::Create).await.unwrap();
    }
    stand.fail(Operation::Get, 5, Fault::After);
    let read = async {
        let read = stand.storage.get(&names[0], Some(17..2_999_999)).await.unwrap();
        read.collect(content.len()).await.unwrap()
    };
    let patient = async {
        loop {
            tokio::task::yield_now().await;
            let _ = stand.clock.advance_to_next();
        }
    };
    tokio::select! {
        body = read => assert!(body == content[17..2_999_999]),
        () = patient => unreachable!("it has no end"),
    }
    assert!(stand.faulty.count(Operation::Get) > 5);
    stand.fail(Operation::List, 5, Fault::After);
    let listed =
        async { stand.storage.list(Some(&key("a")), None).map_ok(|meta| meta.key).try_collect::<Vec<_>>().await };
    let patient = async {
        loop {
            tokio::task::yield_now().await;
            let _ = stand.clock.advance_to_next();
        }
    };
    tokio::select! {
        listed = listed => assert_eq!(listed.unwrap(), names),
        () = patient => unreachable!("it has no end"),
    }
    assert_eq!(stand.faulty.count(Operation::List), 6);
}

/// An object that is replaced while its body is broken is not pieced together.
#[test]
fn what_changed_meanwhile_is_not_pieced_together() {
    let stand = Stand::of_memory();
    let name = key("a");
    let put = |content: &'static str| stand.storage.put(&name, content.into(), PutMode::Overwrite);
    stand.run(put("first")).unwrap();
    stand.fail(Operation::Get, 1, Fault::After);
    let read = stand.run(stand.storage.get(&key("a"), None)).unwrap();
    stand.run(put("other")).unwrap();
    let error = stand.run(read.body.try_collect::<Vec<_>>()).unwrap_err();
    assert_eq!(error.kind(), PortErrorKind::Conflict, "{error}");
}
