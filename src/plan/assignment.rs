//! Which worker tends which server.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use crate::model::{ServerName, WorkerId};

/// Shares `servers` out among `workers`: each gets as many as any other, but for one. No workers, no shares.
///
/// Everybody who knows the same servers and workers comes to the same result, in whatever order they are given. When a worker comes or goes,
/// few servers move but those that it takes or leaves: each goes to the worker that ranks it highest (rendezvous hashing: Thaler and
/// Ravishankar, 1998), of those who have not enough yet.
#[must_use]
pub fn assign<'a>(
    servers: &'a BTreeSet<ServerName>,
    workers: &'a BTreeSet<WorkerId>,
) -> BTreeMap<&'a WorkerId, Vec<&'a ServerName>> {
    let mut shares: Vec<_> = workers.iter().map(Share::of).collect();
    let (Some(enough), Some(mut more)) =
        (servers.len().checked_div(shares.len()), servers.len().checked_rem(shares.len()))
    else {
        return BTreeMap::new();
    };
    let mut ranked: Vec<_> = servers.iter().map(|server| (hash(server.as_str()), server)).collect();
    ranked.sort_unstable();
    for (hash, server) in ranked {
        let has_room = |share: &&mut Share<'_>| share.servers.len() < enough + usize::from(more > 0);
        let best = shares.iter_mut().filter(has_room).max_by_key(|share| mix(share.hash ^ hash));
        if let Some(best) = best {
            best.servers.push(server);
            more -= usize::from(best.servers.len() > enough);
        }
    }
    shares.into_iter().map(|share| (share.worker, share.servers)).collect()
}

struct Share<'a> {
    worker: &'a WorkerId,
    hash: u64,
    servers: Vec<&'a ServerName>,
}

impl<'a> Share<'a> {
    fn of(worker: &'a WorkerId) -> Self {
        Self { worker, hash: hash(worker.as_str()), servers: Vec::new() }
    }
}

fn hash(name: &str) -> u64 {
    let digest: [u8; 32] = Sha256::digest(name).into();
    digest.first_chunk().copied().map_or(0, u64::from_be_bytes)
}

/// Spreads what differs in a few bits over all of them: the finalizer of `SplitMix64` (Steele, Lea, Flood, 2014).
const fn mix(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(count: usize) -> BTreeSet<ServerName> {
        (0..count).map(|number| format!("server-{number}").parse().unwrap()).collect()
    }

    fn workers(count: usize) -> BTreeSet<WorkerId> {
        (0..count).map(|number| format!("worker-{number}").parse().unwrap()).collect()
    }

    /// Who has which server.
    fn owners<'a>(
        servers: &'a BTreeSet<ServerName>,
        workers: &'a BTreeSet<WorkerId>,
    ) -> BTreeMap<&'a ServerName, &'a WorkerId> {
        let shares = assign(servers, workers);
        shares
            .into_iter()
            .flat_map(|(worker, servers)| servers.into_iter().map(move |server| (server, worker)))
            .collect()
    }

    #[test]
    fn every_server_has_one_worker_and_every_worker_as_many_as_any_other() {
        for (count, of) in [(1000, 2), (1000, 3), (7, 10), (0, 3), (10, 1), (5, 5), (100, 7)] {
            let (servers, workers) = (servers(count), workers(of));
            let shares = assign(&servers, &workers);
            assert_eq!(shares.len(), of, "those with nothing are told so");
            let mut all: Vec<_> = shares.values().flatten().copied().collect();
            all.sort_unstable();
            assert!(all.into_iter().eq(&servers), "{count} of {of}");
            let sizes: BTreeSet<_> = shares.values().map(Vec::len).collect();
            assert!(sizes.iter().all(|size| *size == count / of || *size == count.div_ceil(of)), "{sizes:?}");
        }
        assert!(assign(&servers(3), &workers(0)).is_empty());
    }

    #[test]
    fn few_servers_move_but_those_of_who_comes_or_goes() {
        let servers = servers(1000);
        for of in 2..10 {
            let (fewer, more) = (workers(of - 1), workers(of));
            let (before, after) = (owners(&servers, &fewer), owners(&servers, &more));
            let moved = servers.iter().filter(|server| before[server] != after[server]).count();
            let needed = servers.len() / of;
            assert!(moved <= needed * 5 / 4, "{moved} moved, where {needed} would do, from {} to {of}", of - 1);
        }
    }
}
