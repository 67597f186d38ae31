//! How much more may be asked of a store than what is needed.

use std::sync::atomic::{AtomicU32, Ordering};

/// A budget of requests: each that is made beside those that were needed is paid for, a part of one at a time, by those that were.
#[derive(Debug)]
pub(super) struct Budget {
    left: AtomicU32,
    max: u32,
    price: u32,
}

impl Budget {
    /// A budget of `requests`, where one more is earned by `price` requests.
    pub(super) fn new(requests: u32, price: u32) -> Self {
        let max = requests.saturating_mul(price);
        Self { left: AtomicU32::new(max), max, price }
    }

    /// Whether one more request may be made; it is paid for.
    pub(super) fn pay(&self) -> bool {
        let paid = |left: u32| left.checked_sub(self.price);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, paid).is_ok()
    }

    /// A request was made that was needed.
    pub(super) fn earn(&self) {
        let earned = |left: u32| (left < self.max).then(|| left + 1);
        let _ = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, earned);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spent_is_earned_again() {
        let budget = Budget::new(2, 10);
        assert!(budget.pay() && budget.pay() && !budget.pay());
        (0..9).for_each(|_| budget.earn());
        assert!(!budget.pay());
        budget.earn();
        assert!(budget.pay() && !budget.pay());
        (0..100).for_each(|_| budget.earn());
        assert!(budget.pay() && budget.pay() && !budget.pay());
    }
}
