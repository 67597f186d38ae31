//! Changes of the restores that are going on.

use super::ChangeRefusal;
use crate::model::{Caller, OrderPhase, RequestId, RestoreOrder, RestoreSpec, ServerConfig, Timestamp};

/// More at once only get into each other's way.
const RESTORES_MAX: usize = 20;

pub(super) fn order(
    config: &mut ServerConfig,
    spec: &RestoreSpec,
    caller: &Caller,
    at: Timestamp,
) -> Result<(), ChangeRefusal> {
    let taken = config.restores.iter().map(|order| &order.spec.name).chain([&config.spec.name]);
    if taken.into_iter().any(|name| *name == spec.name) {
        return Err(ChangeRefusal::NameTaken(spec.name.clone()));
    }
    if config.restores.len() >= RESTORES_MAX {
        return Err(ChangeRefusal::TooMany { what: "restores", max: RESTORES_MAX });
    }
    config.restores.push(RestoreOrder::new(caller.request.clone(), caller.by.clone(), at, spec.clone()));
    Ok(())
}

pub(super) fn cancel(
    config: &mut ServerConfig,
    restore: &RequestId,
    caller: &Caller,
    at: Timestamp,
) -> Result<(), ChangeRefusal> {
    let order = find(config, restore)?;
    match &order.phase {
        OrderPhase::Ordered => order.phase = OrderPhase::Cancelled { by: caller.by.clone(), at },
        OrderPhase::Cancelled { .. } => {}
        OrderPhase::Made => return Err(ChangeRefusal::RestoreMade(order.spec.name.clone())),
    }
    Ok(())
}

pub(super) fn confirm(config: &mut ServerConfig, restore: &RequestId) -> Result<(), ChangeRefusal> {
    let order = find(config, restore)?;
    match order.phase {
        OrderPhase::Cancelled { .. } => Err(ChangeRefusal::RestoreCancelled(restore.clone())),
        OrderPhase::Ordered | OrderPhase::Made => {
            order.phase = OrderPhase::Made;
            Ok(())
        }
    }
}

pub(super) fn end(config: &mut ServerConfig, restore: &RequestId) -> Result<(), ChangeRefusal> {
    find(config, restore)?;
    config.restores.retain(|order| order.id != *restore);
    Ok(())
}

pub(super) fn ensure_none(config: &ServerConfig) -> Result<(), ChangeRefusal> {
    config.restores.first().map_or(Ok(()), |order| {
        Err(ChangeRefusal::BeingRestored { restore: order.id.clone(), name: order.spec.name.clone() })
    })
}

fn find<'a>(config: &'a mut ServerConfig, restore: &RequestId) -> Result<&'a mut RestoreOrder, ChangeRefusal> {
    let found = config.restores.iter_mut().find(|order| order.id == *restore);
    found.ok_or_else(|| ChangeRefusal::NoSuchRestore(restore.clone()))
}
