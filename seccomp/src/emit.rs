//! A decision graph as classic BPF (linux/filter.h), written from the last instruction to the first.
//!
//! Backwards, because jumps only go forward: whatever an instruction jumps to is already placed and its distance is
//! known. A conditional jump reaches 255 instructions; what lies further gets a copy (of a return) or a long jump in
//! between. A switch becomes a balanced tree of comparisons with short runs of equality tests as leaves.

use crate::decision::{Graph, Node, NodeId, Range, Word};
use crate::program::SockFilter;

/// Equality tests in one leaf. More would save instructions and lengthen the longest path.
const TESTS_IN_A_LEAF: usize = 3;
/// How far a conditional jump reaches.
const REACH: usize = 255;
/// Instructions that may come between fixing a target and jumping to it.
const SLACK: usize = 4;

const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
const JUMP_EQ: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const JUMP_GE: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

/// The program that starts at `root`.
pub(crate) fn emit(graph: &Graph, root: NodeId) -> Vec<SockFilter> {
    let mut emitter = Emitter { graph, code: Vec::with_capacity(512), placed: vec![None; graph.len()] };
    emitter.place(root);
    emitter.code.reverse();
    emitter.code
}

struct Emitter<'g> {
    graph: &'g Graph,
    /// The program from its end.
    code: Vec<SockFilter>,
    /// By node: where it can be jumped to, counted from the end; the nearest place if there are several.
    placed: Vec<Option<usize>>,
}

/// Where a comparison leads.
#[derive(Clone, Copy)]
enum Target {
    Node(NodeId),
    /// Code that nothing else jumps to, counted from the end.
    Code(usize),
}

impl Emitter<'_> {
    /// Writes the node unless it is there; returns where it is.
    fn place(&mut self, id: NodeId) -> usize {
        if let Some(at) = self.placed[id.index()] {
            return at;
        }
        let graph = self.graph;
        let at = match graph.node(id) {
            Node::Return(ret) => self.push(RETURN, *ret, 0, 0),
            Node::Switch(word, ranges) => self.switch(*word, ranges),
        };
        self.placed[id.index()] = Some(at);
        at
    }

    fn switch(&mut self, word: Word, ranges: &[Range]) -> usize {
        let spans = spans(ranges);
        let tree = self.tree(&leaves(&spans));
        let first = self.reachable(tree);
        // A switch has two ranges, so its tree has a comparison: written last, and a load falls through to it.
        debug_assert_eq!(first + 1, self.code.len());
        if word.mask != u32::MAX {
            self.push(AND, word.mask, 0, 0);
        }
        self.push(LOAD, word.offset, 0, 0)
    }

    fn tree(&mut self, leaves: &[&[Span]]) -> Target {
        if let [leaf] = leaves {
            return self.leaf(leaf);
        }
        let (low, high) = leaves.split_at(leaves.len() / 2);
        let start = high[0][0].first;
        let high = self.tree(high);
        let low = self.tree(low);
        let (high, low) = (self.settled(high), self.settled(low));
        let (high, low) = (self.reachable(high), self.reachable(low));
        Target::Code(self.jump(JUMP_GE, start, high, low))
    }

    /// Tests for the values that do not go where the wider spans go. The highest is written last and so tested
    /// first: of the audit tokens that is the native one.
    fn leaf(&mut self, leaf: &[Span]) -> Target {
        let common = common(leaf);
        let tests = || leaf.iter().filter(|span| span.to != common);
        for span in leaf {
            self.place(span.to);
        }
        tests().fold(Target::Node(common), |after, test| {
            let (to, not) = (self.reachable(Target::Node(test.to)), self.reachable(after));
            Target::Code(self.jump(JUMP_EQ, test.first, to, not))
        })
    }

    /// The same target, with its code written.
    fn settled(&mut self, target: Target) -> Target {
        if let Target::Node(id) = target {
            self.place(id);
        }
        target
    }

    /// A place of the target that the next few instructions can jump to.
    fn reachable(&mut self, target: Target) -> usize {
        let at = match target {
            Target::Node(id) => self.place(id),
            Target::Code(at) => at,
        };
        if self.code.len() + SLACK - at <= REACH {
            return at;
        }
        let nearer = match self.code[at] {
            SockFilter { code: RETURN, k, .. } => self.push(RETURN, k, 0, 0),
            _ => self.long_jump(at),
        };
        if let Target::Node(id) = target {
            self.placed[id.index()] = Some(nearer);
        }
        nearer
    }

    fn long_jump(&mut self, to: usize) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "a program is far shorter")]
        let distance = (self.code.len() - to - 1) as u32;
        self.push(JUMP, distance, 0, 0)
    }

    fn jump(&mut self, code: u16, k: u32, to: usize, not: usize) -> usize {
        let (to, not) = (self.distance(to), self.distance(not));
        self.push(code, k, to, not)
    }

    #[expect(clippy::cast_possible_truncation, reason = "`reachable` gave the place")]
    fn distance(&self, to: usize) -> u8 {
        let distance = self.code.len() - to - 1;
        debug_assert!(distance <= REACH);
        distance as u8
    }

    fn push(&mut self, code: u16, k: u32, jt: u8, jf: u8) -> usize {
        self.code.push(SockFilter { code, jt, jf, k });
        self.code.len() - 1
    }
}

/// The values from `first` to `last` lead to one place.
struct Span {
    first: u32,
    last: u32,
    to: NodeId,
}

fn spans(ranges: &[Range]) -> Vec<Span> {
    let ends = ranges.iter().skip(1).map(|next| next.start - 1).chain([u32::MAX]);
    ranges.iter().zip(ends).map(|(range, last)| Span { first: range.start, last, to: range.to }).collect()
}

/// Cuts spans into leaves: as many spans each as a few equality tests can decide.
fn leaves(spans: &[Span]) -> Vec<&[Span]> {
    let mut leaves = Vec::new();
    let mut rest = spans;
    while !rest.is_empty() {
        let fits = (2..=rest.len()).take_while(|length| fits_a_leaf(&rest[..*length]));
        let (leaf, after) = rest.split_at(fits.last().unwrap_or(1));
        leaves.push(leaf);
        rest = after;
    }
    leaves
}

fn fits_a_leaf(spans: &[Span]) -> bool {
    let common = common(spans);
    let mut tested = spans.iter().filter(|span| span.to != common);
    tested.clone().count() <= TESTS_IN_A_LEAF && tested.all(|span| span.first == span.last)
}

/// Where a leaf leads when no test says otherwise: where its first wide span leads.
fn common(leaf: &[Span]) -> NodeId {
    let wide = leaf.iter().find(|span| span.first != span.last);
    wide.unwrap_or(&leaf[leaf.len() - 1]).to
}
