//! A tree of maxima over a sequence: "which is the first one from here that passes a limit?" in logarithmic time.

use std::ops::Range;

/// The maxima of all aligned power-of-two stretches of a sequence.
///
/// Node 1 is the root, node `n` has the children `2n` and `2n + 1`, and the sequence itself are the leaves.
#[derive(Clone, Debug)]
pub(super) struct MaxTree<T> {
    leaves: usize,
    nodes: Vec<Option<T>>,
}

impl<T: Ord + Copy> MaxTree<T> {
    /// The tree over `values`; `None` is below everything.
    pub(super) fn new(values: impl ExactSizeIterator<Item = Option<T>>) -> Self {
        let leaves = values.len().next_power_of_two();
        let mut nodes = vec![None; leaves];
        nodes.extend(values);
        nodes.resize(2 * leaves, None);
        for node in (1..leaves).rev() {
            nodes[node] = nodes[2 * node].max(nodes[2 * node + 1]);
        }
        Self { leaves, nodes }
    }

    /// The greatest value at the positions of `range`.
    pub(super) fn max(&self, range: Range<usize>) -> Option<T> {
        let (mut low, mut high) = (range.start + self.leaves, range.end + self.leaves);
        let mut max = None;
        while low < high {
            if low % 2 == 1 {
                max = max.max(self.nodes[low]);
                low += 1;
            }
            if high % 2 == 1 {
                high -= 1;
                max = max.max(self.nodes[high]);
            }
            (low, high) = (low / 2, high / 2);
        }
        max
    }

    /// The first position of `range` whose value is above `limit`.
    pub(super) fn first_above(&self, range: Range<usize>, limit: T) -> Option<usize> {
        if range.is_empty() {
            return None;
        }
        let above = |node: usize| self.nodes[node] > Some(limit);
        let mut node = range.start + self.leaves;
        while !above(node) {
            // The next stretch to the right: of the nearest ancestor that is a left child, the sibling.
            while node % 2 == 1 {
                node /= 2;
            }
            if node == 0 {
                return None;
            }
            node += 1;
        }
        while node < self.leaves {
            node = if above(2 * node) { 2 * node } else { 2 * node + 1 };
        }
        Some(node - self.leaves).filter(|position| range.contains(position))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_a_scan() {
        for length in 0..=9_usize {
            let values: Vec<_> = (0..length).map(|i| (i % 4 != 3).then_some(i * 5 % 7)).collect();
            let tree = MaxTree::new(values.iter().copied());
            for (start, end) in (0..=length).flat_map(|start| (start..=length).map(move |end| (start, end))) {
                let max = values[start..end].iter().copied().max().flatten();
                assert_eq!(tree.max(start..end), max, "{start}..{end} of {values:?}");
                for limit in 0..7 {
                    let first = (start..end).find(|&i| values[i] > Some(limit));
                    assert_eq!(tree.first_above(start..end, limit), first, "{limit}: {start}..{end} of {values:?}");
                }
            }
        }
    }
}
