//! Rules with conditions as a decision graph: word by word, each word of each argument looked at most once.
//!
//! The state between two words is what the words so far left of each rule. Equal states are built once, so the graph
//! stays small for rules people write; for rules whose states multiply, rule after rule is tried instead.

use std::collections::BTreeMap;

use crate::abi::Width;
use crate::condition::{Condition, Op};
use crate::decision::{Graph, NodeId, Range, Word};
use crate::resolve::{Clause, lower, upper};

/// States of one call before the plain way is taken. Docker's profile needs a dozen.
const MOST_STATES: usize = 1024;
/// Different words and masks of one call for the same: 12 words, and masks.
const MOST_WORDS: usize = 64;
/// Rules of one call for the same: the kernel takes 4096 instructions.
const MOST_CLAUSES: usize = 4096;
/// Rules to try one after another. Each is a node below the one before, and the emitter descends.
const MOST_IN_A_ROW: usize = 512;

/// The graph that gives the action of the first clause that holds, else `otherwise`. `None` when there are too many.
pub(crate) fn decide(
    graph: &mut Graph,
    clauses: &[Clause],
    width: Width,
    otherwise: NodeId,
) -> Option<NodeId> {
    let together = Builder::new(clauses, width, otherwise).and_then(|builder| builder.build(graph));
    if together.is_some() || clauses.len() > MOST_IN_A_ROW {
        return together;
    }
    clauses.iter().rev().try_fold(otherwise, |otherwise, clause| {
        Builder::new(std::slice::from_ref(clause), width, otherwise)?.build(graph)
    })
}

/// What the words so far say about a clause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Failed,
    /// Nothing speaks against it.
    Open,
    /// The upper half was equal: the lower half of the same argument decides.
    Tied,
}

enum Settled {
    NotYet,
    NoneHolds,
    /// The clause holds, and those before it do not.
    Holds(usize),
}

/// What a clause asks of a word.
#[derive(Debug, Clone, Copy)]
struct Question {
    op: Op,
    value: u32,
    part: Part,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The word decides.
    Whole,
    /// The upper half of a 64-bit comparison.
    Upper,
    /// Its lower half.
    Lower,
}

struct Builder<'c> {
    clauses: &'c [Clause],
    otherwise: NodeId,
    words: Vec<Word>,
    /// By word, then by clause.
    questions: Vec<Vec<Option<Question>>>,
    /// By clause: the index of its last word that is not a lower half, plus one.
    decided_after: Vec<usize>,
    built: BTreeMap<(usize, Vec<State>), NodeId>,
}

impl<'c> Builder<'c> {
    fn new(clauses: &'c [Clause], width: Width, otherwise: NodeId) -> Option<Self> {
        let asked: Vec<Vec<(Word, Question)>> =
            clauses.iter().map(|clause| questions(clause, width)).collect();
        let mut words: Vec<Word> = asked.iter().flatten().map(|(word, _)| *word).collect();
        words.sort_unstable_by_key(|word| reading_order(*word));
        words.dedup();
        if words.len() > MOST_WORDS || clauses.len() > MOST_CLAUSES {
            return None;
        }
        let mut questions = vec![vec![None; clauses.len()]; words.len()];
        let mut decided_after = vec![0; clauses.len()];
        for (clause, asked) in asked.iter().enumerate() {
            for (word, question) in asked {
                let at = words.partition_point(|known| reading_order(*known) < reading_order(*word));
                questions[at][clause] = Some(*question);
                if question.part != Part::Lower {
                    decided_after[clause] = decided_after[clause].max(at + 1);
                }
            }
        }
        Some(Self { clauses, otherwise, words, questions, decided_after, built: BTreeMap::new() })
    }

    /// `None` when there are too many states.
    fn build(mut self, graph: &mut Graph) -> Option<NodeId> {
        let states = vec![State::Open; self.clauses.len()];
        self.from(graph, 0, states)
    }

    /// The decision when the words before `at` have left `states`.
    fn from(&mut self, graph: &mut Graph, mut at: usize, mut states: Vec<State>) -> Option<NodeId> {
        match self.settle(at, &mut states) {
            Settled::NoneHolds => return Some(self.otherwise),
            Settled::Holds(clause) => {
                return Some(graph.returning(self.clauses[clause].outcome.action.to_ret()));
            }
            Settled::NotYet => {}
        }
        while self.asking(at, &states).next().is_none() {
            at += 1;
        }
        let key = (at, states);
        if let Some(node) = self.built.get(&key) {
            return Some(*node);
        }
        if self.built.len() >= MOST_STATES {
            return None;
        }
        let ranges = self.ranges(graph, at, &key.1)?;
        let node = graph.switch(self.words[at], ranges);
        self.built.insert(key, node);
        Some(node)
    }

    /// Looks for the clause that decides, and drops the ones behind one that is sure to hold.
    fn settle(&self, at: usize, states: &mut [State]) -> Settled {
        let Some(first) = states.iter().position(|state| *state != State::Failed) else {
            return Settled::NoneHolds;
        };
        let holds = |clause: &usize| states[*clause] == State::Open && self.decided_after[*clause] <= at;
        match (first..states.len()).find(holds) {
            Some(clause) if clause == first => return Settled::Holds(clause),
            Some(clause) => states[clause + 1..].fill(State::Failed),
            None => {}
        }
        Settled::NotYet
    }

    fn asking(&self, at: usize, states: &[State]) -> impl Iterator<Item = Question> {
        self.questions[at]
            .iter()
            .zip(states)
            .filter_map(|(question, state)| question.filter(|q| q.asks(*state)))
    }

    fn ranges(&mut self, graph: &mut Graph, at: usize, states: &[State]) -> Option<Vec<Range>> {
        let mut starts = vec![0];
        for question in self.asking(at, states) {
            starts.push(question.value);
            starts.extend(question.value.checked_add(1));
        }
        starts.sort_unstable();
        starts.dedup();
        let range =
            |start| Some(Range { start, to: self.from(graph, at + 1, self.after(at, states, start))? });
        starts.into_iter().map(range).collect()
    }

    /// The states when the word `at` has `value`.
    fn after(&self, at: usize, states: &[State], value: u32) -> Vec<State> {
        let answer = |(question, state): (&Option<Question>, &State)| match question {
            Some(question) if question.asks(*state) => question.answer(value),
            _ => *state,
        };
        self.questions[at].iter().zip(states).map(answer).collect()
    }
}

impl Question {
    /// A lower half matters only after a tie.
    fn asks(self, state: State) -> bool {
        match self.part {
            Part::Lower => state == State::Tied,
            Part::Whole | Part::Upper => state == State::Open,
        }
    }

    fn answer(self, word: u32) -> State {
        if self.part == Part::Upper && word == self.value {
            return State::Tied;
        }
        let holds = match self.op {
            Op::Eq | Op::MaskedEq => word == self.value,
            Op::Ne => word != self.value,
            Op::Lt => word < self.value,
            Op::Le => word <= self.value,
            Op::Ge => word >= self.value,
            Op::Gt => word > self.value,
        };
        if holds { State::Open } else { State::Failed }
    }
}

/// By argument, its upper half first.
fn reading_order(word: Word) -> (u32, bool, u32) {
    (word.offset / 8, word.offset.is_multiple_of(8), word.mask)
}

fn questions(clause: &Clause, width: Width) -> Vec<(Word, Question)> {
    let mut asked = Vec::with_capacity(2 * clause.conditions.len());
    for condition in &clause.conditions {
        match (condition.op, width) {
            (Op::MaskedEq, _) => asked.extend(masked(condition)),
            (_, Width::Bits32) => asked.push(half(condition, Part::Whole)),
            (_, Width::Bits64) => asked.extend([half(condition, Part::Upper), half(condition, Part::Lower)]),
        }
    }
    asked
}

/// The halves of a masked comparison are independent, and one with an empty mask is no question.
fn masked(condition: &Condition) -> impl Iterator<Item = (Word, Question)> {
    let Condition { arg, op, value, mask } = *condition;
    let high = (Word::upper(arg, upper(mask)), Question { op, value: upper(value), part: Part::Whole });
    let low = (Word::lower(arg, lower(mask)), Question { op, value: lower(value), part: Part::Whole });
    [high, low].into_iter().filter(|(word, _)| word.mask != 0)
}

fn half(condition: &Condition, part: Part) -> (Word, Question) {
    let Condition { arg, op, value, .. } = *condition;
    match part {
        Part::Upper => (Word::upper(arg, u32::MAX), Question { op, value: upper(value), part }),
        Part::Lower | Part::Whole => (Word::lower(arg, u32::MAX), Question { op, value: lower(value), part }),
    }
}
