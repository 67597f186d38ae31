//! Whether what was seen of an object can have happened in a single storage, one operation after another.
//!
//! After Wing and Gong ("Testing and verifying concurrent objects", 1993), with states that were reached before left out, as Lowe does.

use std::collections::HashSet;

/// What stands in an object: a number that nobody else writes.
pub(crate) type Content = Option<u64>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Read,
    Create(u64),
    Overwrite(u64),
    /// Where the first was read, the second shall be.
    Update(u64, u64),
    Delete,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    Read(Content),
    Done,
    Conflict,
    /// It may have happened, or may happen yet.
    Unknown,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub(crate) asked: Asked,
    pub(crate) answered: Answered,
    pub(crate) begun: u64,
    pub(crate) ended: u64,
}

impl Event {
    /// What the object becomes, if this can have happened where it was `content`.
    fn apply(&self, content: Content) -> Option<Content> {
        let done = |may: bool, becomes: Content| match self.answered {
            Answered::Conflict => (!may).then_some(content),
            Answered::Done | Answered::Unknown => may.then_some(becomes),
            Answered::Read(_) => None,
        };
        match self.asked {
            Asked::Read => (self.answered == Answered::Read(content)).then_some(content),
            Asked::Create(new) => done(content.is_none(), Some(new)),
            Asked::Overwrite(new) => done(true, Some(new)),
            Asked::Update(old, new) => done(content == Some(old), Some(new)),
            Asked::Delete => done(true, None),
        }
    }

    fn is_unknown(&self) -> bool {
        self.answered == Answered::Unknown
    }
}

/// Whether there is an order in which all of `events` can have happened, those of unknown outcome or not.
pub(crate) fn is_linearizable(events: &[Event]) -> bool {
    let mut events: Vec<Event> =
        events.iter().copied().filter(|event| !(event.is_unknown() && event.asked == Asked::Read)).collect();
    // What comes last is tried first: what certainly happened, in the order in which it ended.
    events.sort_by_key(|event| (!event.is_unknown(), std::cmp::Reverse(event.ended)));
    assert!(events.len() <= 128, "{} events are too many", events.len());
    let mut seen = HashSet::new();
    let mut states: Vec<(u128, Content)> = vec![(0, None)];
    while let Some((done, content)) = states.pop() {
        let left = || events.iter().enumerate().filter(move |(at, _)| done >> at & 1 == 0);
        let Some(first_end) = left().filter(|(_, event)| !event.is_unknown()).map(|(_, event)| event.ended).min()
        else {
            return true;
        };
        for (at, event) in left().filter(|(_, event)| event.begun < first_end) {
            if let Some(next) = event.apply(content).map(|becomes| (done | 1 << at, becomes))
                && seen.insert(next)
            {
                states.push(next);
            }
        }
    }
    false
}

#[test]
fn histories_are_told_apart() {
    let event = |asked, answered, begun, ended| Event { asked, answered, begun, ended };
    let created = event(Asked::Create(1), Answered::Done, 0, 2);
    let read = |content, begun| event(Asked::Read, Answered::Read(content), begun, begun + 1);
    let second = |answered| event(Asked::Create(2), answered, 1, 5);
    assert!(is_linearizable(&[created, read(Some(1), 3)]));
    assert!(!is_linearizable(&[created, read(None, 3)]), "an acknowledged write is lost");
    assert!(is_linearizable(&[created, read(None, 1)]));
    assert!(!is_linearizable(&[created, second(Answered::Done)]), "two creators win");
    assert!(is_linearizable(&[created, second(Answered::Conflict)]));
    assert!(is_linearizable(&[created, second(Answered::Unknown), read(Some(1), 6)]));
    let deleted = event(Asked::Delete, Answered::Done, 7, 8);
    assert!(is_linearizable(&[created, second(Answered::Unknown), deleted, read(Some(2), 9), read(Some(2), 11)]));
    assert!(!is_linearizable(&[created, deleted, read(Some(1), 9)]), "what was deleted is back");
    assert!(!is_linearizable(&[second(Answered::Unknown), read(Some(2), 9), read(None, 11)]), "it comes and goes");
}
