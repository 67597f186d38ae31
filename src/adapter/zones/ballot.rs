//! The order of proposals.

/// When a value of an object was proposed, relative to the others: of two proposals the greater one counts.
///
/// Ballots of step 0 are those of recoveries, each of one proposer alone. The steps after it belong to whoever takes them in the home zone,
/// one after another; no other ballot lies between two of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Ballot {
    pub(super) round: u64,
    pub(super) proposer: u64,
    pub(super) step: u64,
}

impl Ballot {
    /// Before everything: nothing was ever proposed.
    pub(super) const ZERO: Self = Self { round: 0, proposer: 0, step: 0 };

    /// The one directly after it.
    pub(super) const fn next(self) -> Self {
        Self { step: self.step.saturating_add(1), ..self }
    }

    /// One of `proposer` that is greater than it and all that can follow it by steps.
    pub(super) const fn recovery(self, proposer: u64) -> Self {
        Self { round: self.round.saturating_add(1), proposer, step: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_lies_between_a_ballot_and_the_next() {
        let ballot = Ballot { round: 7, proposer: 3, step: 2 };
        assert!(ballot < ballot.next() && ballot.next() < Ballot { proposer: 4, step: 0, ..ballot });
        assert!(ballot.next().next() < ballot.recovery(0));
        assert!(ballot.recovery(1) < ballot.recovery(2));
    }
}
