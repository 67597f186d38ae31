//! Maxima over a long sequence: "which is the first one from here that passes a limit?" in logarithmic time, and in a fraction
//! of the memory of the sequence itself.

use std::ops::Range;

/// How many values share a leaf.
const BLOCK: usize = 32;

/// The maxima of all blocks of a sequence, and of all aligned power-of-two stretches of blocks.
///
/// Node 1 is the root, node `n` has the children `2n` and `2n + 1`, and the blocks are the leaves. The values themselves stay
/// where they are: whoever asks says how to read them.
#[derive(Clone, Debug)]
pub(super) struct BlockMax<T> {
    leaves: usize,
    nodes: Vec<Option<T>>,
}

impl<T: Ord + Copy> BlockMax<T> {
    /// The tree over `length` values; `None` is below everything.
    pub(super) fn new(length: usize, value: impl Fn(usize) -> Option<T>) -> Self {
        let leaves = length.div_ceil(BLOCK).next_power_of_two();
        let mut nodes = vec![None; leaves];
        let block = |start: usize| (start..length.min(start + BLOCK)).filter_map(&value).max();
        nodes.extend((0..length).step_by(BLOCK).map(block));
        nodes.resize(2 * leaves, None);
        for node in (1..leaves).rev() {
            nodes[node] = nodes[2 * node].max(nodes[2 * node + 1]);
        }
        Self { leaves, nodes }
    }

    /// The greatest value at the positions of `range`.
    pub(super) fn max(&self, range: Range<usize>, value: impl Fn(usize) -> Option<T>) -> Option<T> {
        let (head, blocks, tail) = split(range);
        let edges = head.chain(tail).filter_map(value).max();
        edges.max(self.max_of_blocks(blocks))
    }

    /// The first position of `range` whose value is above `limit`.
    pub(super) fn first_above(
        &self,
        range: Range<usize>,
        limit: T,
        value: impl Fn(usize) -> Option<T>,
    ) -> Option<usize> {
        let above = |&position: &usize| value(position) > Some(limit);
        let (mut head, blocks, mut tail) = split(range);
        let inside = |block: usize| (block * BLOCK..(block + 1) * BLOCK).find(above);
        let head = head.find(above);
        head.or_else(|| self.first_block_above(blocks, limit).and_then(inside)).or_else(|| tail.find(above))
    }

    fn max_of_blocks(&self, blocks: Range<usize>) -> Option<T> {
        let (mut low, mut high) = (blocks.start + self.leaves, blocks.end + self.leaves);
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

    fn first_block_above(&self, blocks: Range<usize>, limit: T) -> Option<usize> {
        if blocks.is_empty() {
            return None;
        }
        let above = |node: usize| self.nodes[node] > Some(limit);
        let mut node = blocks.start + self.leaves;
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
        Some(node - self.leaves).filter(|block| blocks.contains(block))
    }
}

/// The positions before the first whole block, the whole blocks, and the positions after the last one.
fn split(range: Range<usize>) -> (Range<usize>, Range<usize>, Range<usize>) {
    let (first, after) = (range.start.div_ceil(BLOCK), range.end / BLOCK);
    if first >= after {
        return (range, 0..0, 0..0);
    }
    (range.start..first * BLOCK, first..after, after * BLOCK..range.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(length: usize) -> Vec<Option<usize>> {
        (0..length).map(|i| (i % 7 != 3).then_some(i * 37 % 101)).collect()
    }

    #[test]
    fn agrees_with_a_scan() {
        for length in [0, 1, 31, 32, 33, 64, 100, 200, 300] {
            let values = values(length);
            let tree = BlockMax::new(length, |i| values[i]);
            for start in (0..=length).step_by(5) {
                for end in (start..=length).step_by(3) {
                    let max = values[start..end].iter().copied().max().flatten();
                    assert_eq!(tree.max(start..end, |i| values[i]), max, "{start}..{end} of {length}");
                    for limit in [0, 50, 90, 99, 100, 101] {
                        let first = (start..end).find(|&i| values[i] > Some(limit));
                        let found = tree.first_above(start..end, limit, |i| values[i]);
                        assert_eq!(found, first, "{limit}: {start}..{end} of {length}");
                    }
                }
            }
        }
    }
}
