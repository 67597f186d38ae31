//! What zones hold of an object, side by side.

use super::ballot::Ballot;
use super::record::Header;
use super::set::HOME;
use super::zone::Seen;

/// What zones hold of an object.
pub(super) type Sight = Vec<(usize, Seen)>;

/// What a quorum of zones holds of an object.
#[derive(Clone, Debug)]
pub(super) struct Agreed {
    pub(super) header: Header,
    /// The zones that hold it, in their order.
    pub(super) holders: Sight,
}

/// What the home zone holds, if whoever takes the ballot after `base` may take it there.
pub(super) fn home<'a>(sight: &'a Sight, base: &Header) -> Option<&'a Seen> {
    let (_, home) = sight.iter().find(|(zone, _)| *zone == HOME)?;
    (is_free(home, base) && home.header.accepted == base.accepted).then_some(home)
}

/// Whether a zone has promised nothing beyond `base`.
pub(super) fn is_free(seen: &Seen, base: &Header) -> bool {
    !seen.header.is_retired() && seen.header.promised <= base.accepted
}

/// What `quorum` of the zones in `sight` hold.
pub(super) fn agreed(sight: &Sight, quorum: usize) -> Option<Agreed> {
    let on_a_ballot = sight.iter().find_map(|(_, seen)| {
        let header = seen.header.standing();
        let holders = holders(sight, |other| other.standing().accepted == header.accepted);
        (holders.len() >= quorum).then_some(Agreed { header, holders })
    });
    on_a_ballot.or_else(|| agreed_on_nothing(sight, quorum))
}

/// As soon as one zone's record is being deleted, others that hold nothing need not do so under the same ballot: all of them held nothing
/// for long, and nothing can be chosen without those in `sight`.
fn agreed_on_nothing(sight: &Sight, quorum: usize) -> Option<Agreed> {
    let holders = holders(sight, |header| header.value.content.bytes().is_none());
    let is_retired = holders.iter().any(|(_, seen)| seen.header.is_retired());
    (is_retired && holders.len() >= quorum).then_some(Agreed { header: Header::NOTHING, holders })
}

/// Those in `sight` with such a header, in the order of the zones.
fn holders(sight: &Sight, is_such: impl Fn(&Header) -> bool) -> Sight {
    let mut holders: Sight = sight.iter().filter(|(_, seen)| is_such(&seen.header)).cloned().collect();
    holders.sort_by_key(|(zone, _)| *zone);
    holders
}

/// Those in `sight` that have something else than `header`, and may be written over.
pub(super) fn lagging(sight: &Sight, header: &Header) -> Sight {
    let lags = |(_, seen): &&(usize, Seen)| !seen.header.is_retired() && seen.header.accepted != header.accepted;
    sight.iter().filter(lags).cloned().collect()
}

/// What was proposed last, of what is in `sight`.
pub(super) fn latest(sight: Sight) -> Agreed {
    let header = sight.iter().map(|(_, seen)| seen.header.standing()).max_by_key(|header| header.accepted);
    let header = header.unwrap_or(Header::NOTHING);
    let is_latest = |(_, seen): &(usize, Seen)| seen.header.standing().accepted == header.accepted;
    Agreed { header, holders: sight.into_iter().filter(is_latest).collect() }
}

/// The highest ballot that a zone in `sight` has promised.
pub(super) fn highest(sight: &Sight) -> Ballot {
    sight.iter().map(|(_, seen)| seen.header.standing().promised).max().unwrap_or_default()
}
