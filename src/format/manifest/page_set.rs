//! Which pages of an extent.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::model::{ParseError, text_serde};

/// Some of the pages of an extent, which has up to 128; written as the hexadecimal digits of a number of which bit *n* says whether
/// page *n* is one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageSet(u128);

impl PageSet {
    /// How many pages there can be.
    pub const PAGES_MAX: usize = 128;

    /// The first `pages` pages.
    #[must_use]
    pub const fn first(pages: usize) -> Self {
        match Self::PAGES_MAX.checked_sub(pages) {
            Some(Self::PAGES_MAX) => Self(0),
            Some(others) => Self(u128::MAX >> others),
            None => Self(u128::MAX),
        }
    }

    /// How many there are.
    #[must_use]
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The place of `page` among them, if it is one.
    #[must_use]
    pub const fn place(self, page: usize) -> Option<usize> {
        if page < Self::PAGES_MAX && self.0 >> page & 1 == 1 {
            Some((self.0 & ((1 << page) - 1)).count_ones() as usize)
        } else {
            None
        }
    }

    /// These and those.
    #[must_use]
    pub const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// All of them, in order.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..Self::PAGES_MAX).filter(move |page| self.0 >> page & 1 == 1)
    }
}

impl FromIterator<usize> for PageSet {
    /// Of these pages; what is no page of an extent is passed over.
    fn from_iter<I: IntoIterator<Item = usize>>(pages: I) -> Self {
        let bits = pages.into_iter().filter(|page| *page < Self::PAGES_MAX).map(|page| 1 << page);
        Self(bits.fold(0, |set: u128, bit: u128| set | bit))
    }
}

impl fmt::Display for PageSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl FromStr for PageSet {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = digits.then(|| u128::from_str_radix(text, 16).ok()).flatten();
        number.map(Self).ok_or_else(|| ParseError::new("set of pages", text, "1 to 32 hexadecimal digits"))
    }
}

text_serde!(PageSet);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_knows_its_pages() {
        let set: PageSet = [0, 3, 127, 128].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 3, 127]);
        assert_eq!((set.len(), set.is_empty(), PageSet::default().is_empty()), (3, false, true));
        assert_eq!([0, 1, 3, 127, 128].map(|page| set.place(page)), [Some(0), None, Some(1), Some(2), None]);
        assert_eq!([0, 1, 128, 129].map(|pages| PageSet::first(pages).len()), [0, 1, 128, 128]);
        assert_eq!(PageSet::first(2).and(set).iter().collect::<Vec<_>>(), [0, 1, 3, 127]);
    }

    #[test]
    fn a_set_prints_as_it_parses() {
        for pages in [0, 1, 5, 128] {
            let set = PageSet::first(pages);
            assert_eq!(set.to_string().parse(), Ok(set));
        }
        assert_eq!(PageSet::first(5).to_string(), "1f");
        for text in ["", "+1", "g", "-", &"1".repeat(33)] {
            assert!(text.parse::<PageSet>().is_err(), "{text:?}");
        }
    }
}
