//! A program as a graph of decisions, before it is instructions: which word of the call is looked at, and where each
//! range of its values leads. Equal
//! decisions on arguments and equal answers are one node, so that they are written once.

use std::collections::BTreeMap;

/// A word of `struct seccomp_data` (linux/seccomp.h), seen through a mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Word {
    pub(crate) offset: u32,
    pub(crate) mask: u32,
}

impl Word {
    pub(crate) const NUMBER: Self = Self { offset: 0, mask: u32::MAX };
    pub(crate) const ARCH: Self = Self { offset: 4, mask: u32::MAX };

    /// The lower half of an argument: the ABIs are little-endian.
    pub(crate) fn lower(arg: u8, mask: u32) -> Self {
        Self { offset: 16 + 8 * u32::from(arg), mask }
    }

    pub(crate) fn upper(arg: u8, mask: u32) -> Self {
        Self { offset: 20 + 8 * u32::from(arg), mask }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NodeId(u32);

/// Where values from `start` up to the next range lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Range {
    pub(crate) start: u32,
    pub(crate) to: NodeId,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Node {
    Return(u32),
    /// The ranges start at 0, ascend, and neighbours differ.
    Switch(Word, Vec<Range>),
}

#[derive(Debug, Default)]
pub(crate) struct Graph {
    nodes: Vec<Node>,
    switches: BTreeMap<Node, NodeId>,
    /// A filter has few different answers and asks for them often: a list beats a hash.
    returns: Vec<(u32, NodeId)>,
}

impl NodeId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

impl Graph {
    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    pub(crate) fn returning(&mut self, ret: u32) -> NodeId {
        if let Some((_, id)) = self.returns.iter().find(|(known, _)| *known == ret) {
            return *id;
        }
        let id = self.add(Node::Return(ret));
        self.returns.push((ret, id));
        id
    }

    /// A decision on `word`. `ranges` ascend from 0; neighbours that lead to one place become one range, and no
    /// decision is left if that leaves one.
    pub(crate) fn switch(&mut self, word: Word, mut ranges: Vec<Range>) -> NodeId {
        ranges.dedup_by(|next, kept| next.to == kept.to);
        match ranges[..] {
            [only] => only.to,
            // Numbers and tokens are looked at in one place each: only decisions on arguments repeat.
            _ if word == Word::NUMBER || word == Word::ARCH => self.add(Node::Switch(word, ranges)),
            _ => self.shared(Node::Switch(word, ranges)),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    fn shared(&mut self, switch: Node) -> NodeId {
        if let Some(id) = self.switches.get(&switch) {
            return *id;
        }
        let id = self.add(switch.clone());
        self.switches.insert(switch, id);
        id
    }

    fn add(&mut self, node: Node) -> NodeId {
        #[expect(clippy::cast_possible_truncation, reason = "a graph is far smaller")]
        let id = NodeId(self.nodes.len() as u32);
        self.nodes.push(node);
        id
    }
}

/// Builds the ranges of a [`Graph::switch`] from single values over a background.
#[derive(Debug)]
pub(crate) struct Ranges {
    ranges: Vec<Range>,
}

impl Ranges {
    pub(crate) fn filled(to: NodeId) -> Self {
        Self { ranges: vec![Range { start: 0, to }] }
    }

    /// From `start` on, `to`. `start` may not be below an earlier one.
    pub(crate) fn from(&mut self, start: u32, to: NodeId) {
        match self.ranges.last_mut() {
            Some(last) if last.start == start => last.to = to,
            _ => self.ranges.push(Range { start, to }),
        }
    }

    /// At `value` alone, `to`; after it what was there before.
    pub(crate) fn at(&mut self, value: u32, to: NodeId, after: NodeId) {
        self.from(value, to);
        if let Some(next) = value.checked_add(1) {
            self.from(next, after);
        }
    }

    pub(crate) fn into_vec(self) -> Vec<Range> {
        self.ranges
    }
}
