//! The wrapping key of a server is rotated without touching anything else.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use pitr::adapter::{KeyChain, MemoryKey, SystemClock, ThreadPool};
use pitr::engine::{Error, ErrorKind, Repository, ServerRepository};
use pitr::format::layout::ServerLayout;
use pitr::format::seal::{ServerKey, WrappedKey, WrappingKey};
use pitr::model::{ObjectKey, ServerName};
use pitr::plan::Target;
use pitr::port::{Environment, KeyProvider, PortError, StorageExt};
use pitr::testing::{MemoryTarget, SeededEntropy};

use crate::world::{World, explain};

fn new_key() -> Arc<dyn KeyProvider> {
    Arc::new(MemoryKey::new(WrappingKey::new([8; 32]), Arc::new(SeededEntropy::new(9))))
}

/// The repository of `world`, opened with these keys.
fn with(world: &World, keys: Arc<dyn KeyProvider>) -> Repository {
    let entropy = Arc::new(SeededEntropy::new(10));
    let environment = Environment::new(Arc::new(SystemClock::new()), entropy, Arc::new(ThreadPool::default()));
    Repository::new(Arc::new(world.storage.clone()), keys, environment)
}

fn open(world: &World, keys: Arc<dyn KeyProvider>) -> Result<ServerRepository, Error> {
    futures::executor::block_on(with(world, keys).server(world.server.name()))
}

fn content(world: &World) -> BTreeMap<ObjectKey, Bytes> {
    let listed = world.finish(world.storage.list_all(None)).unwrap();
    let read = |key: &ObjectKey| world.finish(world.storage.find(key, usize::MAX)).unwrap().unwrap().0;
    listed.into_iter().map(|object| (object.key.clone(), read(&object.key))).collect()
}

fn rewrap(world: &World) -> Result<(), Error> {
    world.finish(world.repository.rewrap_key(world.server.name(), &*new_key()))
}

#[test]
fn only_the_wrapped_key_changes() {
    let world = World::protected(2);
    let before = content(&world);
    rewrap(&world).unwrap();
    let after = content(&world);
    let changed: Vec<_> =
        before.iter().filter(|(key, bytes)| after.get(*key) != Some(*bytes)).map(|(key, _)| key).collect();
    assert_eq!((changed, after.len()), (vec![&ServerLayout::new(world.server.name()).key()], before.len()));
    let old = open(&world, Arc::new(world.keys.clone())).unwrap_err();
    assert_eq!(old.kind(), ErrorKind::Denied, "{}", explain(&old));
    open(&world, new_key()).unwrap();
    // What was opened before goes on.
    world.restore(&world.plan(Target::Latest), &MemoryTarget::new()).unwrap();
}

/// A chain that can open a server by its old key has not wrapped it: destroying the old one must be safe afterwards.
#[test]
fn a_chain_wraps_by_its_first_provider_though_another_can_unwrap() {
    let world = World::protected(1);
    let chain = KeyChain::new(new_key()).or(Arc::new(world.keys.clone()));
    for _ in 0..2 {
        world.finish(world.repository.rewrap_key(world.server.name(), &chain)).unwrap();
        open(&world, new_key()).unwrap();
    }
}

#[test]
fn one_of_two_providers_opens_a_server_whenever_its_rotation_was_interrupted() {
    let chain = |world: &World| Arc::new(KeyChain::new(new_key()).or(Arc::new(world.keys.clone())));
    for crash in 0.. {
        let world = World::protected(2);
        world.storage.crash_after(crash);
        let rewrapped = rewrap(&world);
        world.storage.heal();
        open(&world, chain(&world)).unwrap();
        rewrap(&world).unwrap();
        open(&world, new_key()).unwrap();
        if rewrapped.is_ok() {
            assert!(crash > 1, "{crash} operations are too few");
            return;
        }
    }
}

/// A provider that has a bad day.
#[derive(Debug)]
struct Forgetful(MemoryKey);

#[async_trait]
impl KeyProvider for Forgetful {
    async fn wrap(&self, server: &ServerName, _: &ServerKey) -> Result<WrappedKey, PortError> {
        self.0.wrap(server, &ServerKey::new([0; 32])).await
    }

    async fn unwrap(&self, server: &ServerName, wrapped: &WrappedKey) -> Result<ServerKey, PortError> {
        self.0.unwrap(server, wrapped).await
    }
}

#[test]
fn a_provider_that_cannot_unwrap_what_it_wrapped_is_given_no_key() {
    let world = World::protected(1);
    let before = content(&world);
    let forgetful = Forgetful(MemoryKey::new(WrappingKey::new([8; 32]), Arc::new(SeededEntropy::new(9))));
    let error = world.finish(world.repository.rewrap_key(world.server.name(), &forgetful)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{}", explain(&error));
    assert_eq!(content(&world), before);
    let created = with(&world, Arc::new(forgetful));
    let spec = pitr::model::ServerSpec::new("other".parse().unwrap(), pitr::model::PostgresMajor::MIN);
    assert_eq!(futures::executor::block_on(created.create_server(spec)).unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(content(&world), before);
}

#[test]
fn whoever_has_not_the_key_cannot_rotate_it() {
    let world = World::protected(1);
    let before = content(&world);
    let third: Arc<dyn KeyProvider> =
        Arc::new(MemoryKey::new(WrappingKey::new([1; 32]), Arc::new(SeededEntropy::new(1))));
    let (others, nobody) = (with(&world, third), "nobody".parse().unwrap());
    for (repository, name, expected) in
        [(&others, world.server.name(), ErrorKind::Denied), (&world.repository, &nobody, ErrorKind::NotFound)]
    {
        let keys = new_key();
        let error = world.finish(repository.rewrap_key(name, &*keys)).unwrap_err();
        assert_eq!(error.kind(), expected, "{}", explain(&error));
    }
    assert_eq!(content(&world), before);
}
