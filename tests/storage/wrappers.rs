//! Storages around storages keep what they promise, alone and around each other.

use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::TryStreamExt;
use futures::future::join_all;
use pitr::adapter::{
    LimitStorage, Limits, MetricsStorage, PrefixStorage, RetryPolicy, RetryStorage, SystemClock, TimeoutStorage,
    Timeouts, system,
};
use pitr::model::ObjectKey;
use pitr::port::{Clock, Operation, PortErrorKind, PutMode, Storage, StorageExt};
use pitr::testing::conformance::storage::run_all;
use pitr::testing::{Fault, FaultyStorage};

use super::slow::Slow;
use super::{directory, memory};

type Wrap = fn(Arc<dyn Storage>) -> Arc<dyn Storage>;

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

fn key(name: &str) -> ObjectKey {
    name.parse().unwrap()
}

fn hedging() -> Timeouts {
    let mut timeouts = Timeouts::default();
    timeouts.hedge = Some(Duration::from_secs(2));
    timeouts
}

const WRAPPERS: [Wrap; 5] = [
    |inner| Arc::new(PrefixStorage::new(inner, key("some/directory"))),
    |inner| {
        let limits = Limits::new().requests_in_flight(NonZeroUsize::MIN).bytes_per_second(NonZeroU64::MAX);
        Arc::new(LimitStorage::new(inner, limits, clock()))
    },
    |inner| Arc::new(TimeoutStorage::new(inner, hedging(), clock())),
    |inner| Arc::new(MetricsStorage::new(inner, clock())),
    |inner| Arc::new(RetryStorage::new(inner, RetryPolicy::default(), system())),
];

#[tokio::test]
async fn each_conforms() {
    for wrap in WRAPPERS {
        run_all(&*wrap(Arc::new(memory()))).await;
    }
}

#[tokio::test]
async fn all_around_each_other_conform() {
    let root = tempfile::tempdir().unwrap();
    let local: Arc<dyn Storage> = Arc::new(directory(root.path()).await);
    run_all(&*WRAPPERS.into_iter().fold(Arc::clone(&local), |inner, wrap| wrap(inner))).await;
    run_all(&*WRAPPERS.into_iter().rev().fold(local, |inner, wrap| wrap(inner))).await;
}

#[tokio::test]
async fn renewals_pass() {
    for wrap in WRAPPERS {
        let inner = FaultyStorage::new(Arc::new(memory()));
        let storage = wrap(Arc::new(inner.clone()));
        storage.renew(&key("object")).await.unwrap();
        assert_eq!(inner.count(Operation::Renew), 1, "{storage}");
    }
}

#[tokio::test]
async fn a_directory_is_all_there_is() {
    let inner: Arc<dyn Storage> = Arc::new(memory());
    let [a, ab] = ["a", "ab"].map(|name| PrefixStorage::new(Arc::clone(&inner), key(name)));
    for (storage, content) in [(&*inner, "all"), (&a, "a"), (&ab, "ab")] {
        storage.put(&key("object"), content.into(), PutMode::Create).await.unwrap();
    }
    assert_eq!(a.list_all(None).await.unwrap().iter().map(|meta| meta.key.as_str()).collect::<Vec<_>>(), ["object"]);
    assert_eq!(ab.find(&key("object"), 10).await.unwrap().unwrap().0, "ab");
    assert_eq!(inner.list_all(None).await.unwrap().len(), 3);
    assert_eq!(a.to_string(), "a of memory");
    let long = key(&vec!["x".repeat(200); 5].join("/"));
    let deep = PrefixStorage::new(inner, key(&"d".repeat(100)));
    assert_eq!(deep.put(&long, "".into(), PutMode::Create).await.unwrap_err().kind(), PortErrorKind::Invalid);
    assert_eq!(deep.list_all(Some(&long)).await.unwrap_err().kind(), PortErrorKind::Invalid);
}

fn limited(slow: &Slow, limits: Limits) -> LimitStorage {
    LimitStorage::new(Arc::new(slow.clone()), limits, Arc::new(slow.clock.clone()))
}

#[test]
fn no_more_requests_are_under_way_than_allowed() {
    let slow = Slow::new();
    let storage = limited(&slow, Limits::new().requests_in_flight(NonZeroUsize::new(3).unwrap()));
    slow.delay([1; 30]);
    let names: Vec<_> = (0..30).map(|number| key(&number.to_string())).collect();
    let puts = join_all(names.iter().map(|name| storage.put(name, "content".into(), PutMode::Create)));
    assert!(slow.run(puts).iter().all(Result::is_ok));
    assert_eq!(slow.most_under_way.load(Ordering::Relaxed), 3);
    assert_eq!(slow.clock.elapsed(), Duration::from_secs(10));
}

/// Those who gave up waiting, and those who gave up what they had begun, leave their place to others.
#[test]
fn who_goes_away_is_not_waited_for() {
    let slow = Slow::new();
    let storage = limited(&slow, Limits::new().requests_in_flight(NonZeroUsize::MIN));
    slow.delay([100]);
    let name = key("a");
    {
        let mut begun = Box::pin(storage.head(&name));
        let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(storage.head(&name))).collect();
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(begun.as_mut().poll(&mut context).is_pending());
        assert!(waiting.iter_mut().all(|waiting| waiting.as_mut().poll(&mut context).is_pending()));
        drop(waiting.remove(0));
        drop(begun);
        drop(waiting.remove(0));
        assert!(waiting[0].as_mut().poll(&mut context).is_ready());
    }
    for _ in 0..3 {
        assert_eq!(slow.run(storage.head(&name)).unwrap_err().kind(), PortErrorKind::NotFound);
    }
}

/// With one request at a time, whoever holds a read or a listing may still ask for something else.
#[test]
fn nobody_waits_for_oneself() {
    let slow = Slow::new();
    let storage = limited(&slow, Limits::new().requests_in_flight(NonZeroUsize::MIN));
    let whole = async {
        storage.put(&key("a"), vec![1; 5000].into(), PutMode::Create).await?;
        let mut read = storage.get(&key("a"), None).await?;
        let mut listing = storage.list(None, None);
        let upload = storage.upload(&key("b")).await?;
        let mut length = 0;
        while let Some(piece) = read.body.try_next().await? {
            length += piece.len();
            storage.head(&key("a")).await?;
            listing.try_next().await?;
        }
        upload.finish().await?;
        Ok::<_, pitr::port::PortError>(length)
    };
    assert_eq!(slow.run(whole).unwrap(), 5000);
}

#[test]
fn no_more_bytes_pass_than_allowed() {
    let slow = Slow::new();
    let storage = limited(&slow, Limits::new().bytes_per_second(NonZeroU64::new(1000).unwrap()));
    let whole = async {
        storage.put(&key("a"), vec![1; 5000].into(), PutMode::Create).await?;
        storage.get(&key("a"), None).await?.collect(5000).await?;
        let mut upload = storage.upload(&key("b")).await?;
        upload.write(vec![1; 2000].into()).await?;
        upload.write(vec![1; 2000].into()).await?;
        upload.finish().await
    };
    slow.run(whole).unwrap();
    // All but the last piece were paid for when it came.
    assert_eq!(slow.clock.elapsed(), Duration::from_secs(12));
}

fn timed(slow: &Slow, timeouts: Timeouts) -> TimeoutStorage {
    TimeoutStorage::new(Arc::new(slow.clone()), timeouts, Arc::new(slow.clock.clone()))
}

#[test]
fn nobody_waits_without_end() {
    let slow = Slow::new();
    let storage = timed(&slow, Timeouts::default());
    let bytes: bytes::Bytes = vec![1; 1_000_000].into();
    slow.run(storage.put(&key("a"), bytes.clone(), PutMode::Create)).unwrap();
    let late = |error: pitr::port::PortError, seconds: u64| {
        assert_eq!(error.kind(), PortErrorKind::Unavailable);
        assert_eq!(error.to_string(), format!("slow memory gave no answer within {seconds}.0 s"));
    };
    // 1 MB may take ten seconds more.
    slow.delay([39]);
    slow.run(storage.put(&key("a"), bytes.clone(), PutMode::Overwrite)).unwrap();
    slow.delay([41]);
    late(slow.run(storage.put(&key("a"), bytes, PutMode::Overwrite)).unwrap_err(), 40);
    for _ in 0..3 {
        slow.delay([31]);
    }
    late(slow.run(storage.head(&key("a"))).unwrap_err(), 30);
    late(slow.run(storage.delete(&key("a"))).unwrap_err(), 30);
    late(slow.run(storage.list_all(None)).unwrap_err(), 30);
    // A body may take long, if only pieces keep coming.
    slow.delay([29; 100]);
    assert!(slow.run(async { storage.get(&key("a"), Some(0..50_000)).await?.collect(50_000).await }).is_ok());
    slow.delay([29; 950]);
    slow.delay([31]);
    let read = async { storage.get(&key("a"), None).await?.collect(1_000_000).await };
    late(slow.run(read).unwrap_err(), 30);
}

/// Whoever writes a piece may have to wait for the pieces before it.
#[test]
fn an_upload_may_take_as_long_as_all_that_may_be_unsent() {
    let slow = Slow::new();
    let storage = timed(&slow, Timeouts::default());
    let piece = || bytes::Bytes::from(vec![1; 1_000_000]);
    let upload = async |delays: &[u64]| {
        slow.delay(delays.iter().copied());
        let mut upload = storage.upload(&key("a")).await?;
        upload.write(piece()).await?;
        upload.write(piece()).await?;
        upload.finish().await?;
        storage.delete(&key("a")).await
    };
    slow.run(upload(&[29, 39, 49, 49])).unwrap();
    let late = |delays: &[u64], seconds: u64| {
        let error = slow.run(upload(delays)).unwrap_err();
        assert_eq!(error.to_string(), format!("slow memory gave no answer within {seconds}.0 s"));
    };
    late(&[31], 30);
    late(&[0, 41], 40);
    late(&[0, 0, 51], 50);
    late(&[0, 0, 0, 51], 50);
}

#[test]
fn a_read_that_takes_long_is_asked_for_again() {
    let slow = Slow::new();
    let storage = timed(&slow, hedging());
    slow.run(storage.put(&key("a"), "content".into(), PutMode::Create)).unwrap();
    let begun = slow.clock.elapsed();
    slow.delay([20, 1]);
    slow.run(storage.head(&key("a"))).unwrap();
    assert_eq!(slow.clock.elapsed() - begun, Duration::from_secs(3));
    slow.delay([5, 20]);
    slow.run(storage.get(&key("a"), None)).unwrap();
    assert_eq!(slow.clock.elapsed() - begun, Duration::from_secs(8), "the first answer counts, whoever gives it");
    // Of the delay that is left over.
    slow.clock.advance(Duration::from_secs(100));
    let asked = slow.asked.load(Ordering::Relaxed);
    slow.delay([5; 400]);
    for _ in 0..200 {
        slow.run(storage.head(&key("a"))).unwrap();
    }
    let asked = slow.asked.load(Ordering::Relaxed) - asked;
    assert!((200..=200 + 20).contains(&asked), "{asked} requests for 200 answers");
}

#[test]
fn what_is_asked_is_measured() {
    let slow = Slow::new();
    let faulty = FaultyStorage::new(Arc::new(slow.clone()));
    let storage = MetricsStorage::new(Arc::new(faulty.clone()), Arc::new(slow.clock.clone()));
    let put = |name: &str| {
        let (storage, name) = (storage.clone(), key(name));
        async move { storage.put(&name, vec![1; 2500].into(), PutMode::Create).await }
    };
    slow.delay([0, 3, 1]);
    slow.run(put("a")).unwrap();
    slow.run(put("b")).unwrap();
    assert_eq!(slow.run(put("a")).unwrap_err().kind(), PortErrorKind::Conflict);
    faulty.fail_next(Operation::Get, Fault::After);
    let mut read = slow.run(storage.get(&key("a"), None)).unwrap();
    assert_eq!(slow.run(read.body.try_next()).unwrap().unwrap().len(), 1000);
    assert!(slow.run(read.body.try_next()).is_err());
    slow.run(storage.list_all(None)).unwrap();
    let measured = storage.measured();
    let puts = &measured[&Operation::Put];
    assert_eq!((puts.count, puts.bytes, puts.took), (3, 5000, Duration::from_secs(4)));
    assert_eq!(puts.failures.iter().collect::<Vec<_>>(), [(&PortErrorKind::Conflict, &1)]);
    assert_eq!(puts.quantile(0.3), Some(Duration::from_millis(1)));
    assert_eq!(puts.quantile(0.5), Some(Duration::from_millis(1024)));
    assert_eq!(puts.quantile(1.0), Some(Duration::from_millis(4096)));
    let gets = &measured[&Operation::Get];
    assert_eq!((gets.count, gets.bytes, gets.failures[&PortErrorKind::Unavailable]), (1, 1000, 1));
    assert_eq!(measured[&Operation::List].count, 1);
    assert!(!measured.contains_key(&Operation::Delete));
}
