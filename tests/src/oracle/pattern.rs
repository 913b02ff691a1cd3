//! What a trace must look like, where more than one trace is right.
//!
//! ```text
//! A || B || C      this line is A, or B, or C
//! ? LINE           this line may be absent; it may have alternatives
//! {{ any order     the lines up to the closing braces come in any order, each once
//! }}
//! ```
//! Anything else is the line itself.

use std::{collections::BTreeSet, fmt};

/// What a trace must look like: blocks in order, of lines in any order.
#[derive(Clone, Debug)]
pub struct Pattern(Vec<Vec<Line>>);

#[derive(Clone, Debug)]
struct Line {
    optional: bool,
    either: Vec<String>,
}

/// The first line of a trace that fits nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its number, counted from 1.
    pub line: usize,
    /// What could have been there.
    pub wanted: String,
    /// What was there; none where the trace had ended.
    pub got: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let got = self.got.as_deref().unwrap_or("the end");
        write!(f, "line {}: wanted `{}`, got `{got}`", self.line, self.wanted)
    }
}

/// How far a trace has come: the block, and which of its lines are used up. Several may be possible at once.
type State = (usize, BTreeSet<usize>);

impl Pattern {
    /// A trace that is the only right one.
    #[must_use]
    pub fn literal(text: &str) -> Self {
        let line = |line: &str| vec![Line { optional: false, either: vec![line.into()] }];
        Self(text.lines().map(line).collect())
    }

    /// Reads a pattern.
    ///
    /// # Errors
    /// The line at fault: a block within a block, or one that is not opened or not closed.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (mut blocks, mut open) = (Vec::new(), None);
        for (n, line) in text.lines().enumerate() {
            match (line, open.as_mut()) {
                ("{{ any order", Some(_)) => return Err(format!("line {}: a block within a block", n + 1)),
                ("{{ any order", None) => open = Some(Vec::new()),
                ("}}", None) => return Err(format!("line {}: no block to close", n + 1)),
                ("}}", Some(_)) => blocks.extend(open.take()),
                (line, Some(block)) => block.push(Line::parse(line)),
                (line, None) => blocks.push(vec![Line::parse(line)]),
            }
        }
        match open {
            Some(_) => Err("a block is not closed".into()),
            None => Ok(Self(blocks)),
        }
    }

    /// Compares a trace.
    ///
    /// # Errors
    /// The first line that fits nowhere.
    pub fn check(&self, trace: &[String]) -> Result<(), Difference> {
        let mut states = self.passing(BTreeSet::from([(0, BTreeSet::new())]));
        for (n, line) in trace.iter().enumerate() {
            let next: BTreeSet<State> = states.iter().flat_map(|state| self.after(state, line)).collect();
            if next.is_empty() {
                return Err(Difference {
                    line: n + 1,
                    wanted: self.wanted(&states),
                    got: Some(line.clone()),
                });
            }
            states = self.passing(next);
        }
        if states.contains(&(self.0.len(), BTreeSet::new())) {
            return Ok(());
        }
        Err(Difference { line: trace.len() + 1, wanted: self.wanted(&states), got: None })
    }

    /// The lines that a state still has to come, with their numbers in the block.
    fn open<'p>(&'p self, (block, used): &'p State) -> impl Iterator<Item = (usize, &'p Line)> {
        let lines = self.0.get(*block).map_or(&[][..], Vec::as_slice);
        lines.iter().enumerate().filter(|(n, _)| !used.contains(n))
    }

    /// The states that one line leads to.
    fn after(&self, state: &State, line: &str) -> Vec<State> {
        let fitting = self.open(state).filter(|(_, open)| open.either.iter().any(|e| e == line));
        fitting.map(|(n, _)| (state.0, state.1.iter().copied().chain([n]).collect())).collect()
    }

    /// Adds the states beyond blocks of which nothing must come any more.
    fn passing(&self, mut states: BTreeSet<State>) -> BTreeSet<State> {
        let mut todo: Vec<State> = states.iter().cloned().collect();
        while let Some(state) = todo.pop() {
            let beyond = (state.0 + 1, BTreeSet::new());
            let done = state.0 < self.0.len() && self.open(&state).all(|(_, line)| line.optional);
            if done && states.insert(beyond.clone()) {
                todo.push(beyond);
            }
        }
        states
    }

    fn wanted(&self, states: &BTreeSet<State>) -> String {
        let mut wanted: Vec<&str> = Vec::new();
        for state in states {
            let ends = (state.0 == self.0.len()).then_some("the end");
            let lines = self.open(state).flat_map(|(_, line)| line.either.iter().map(String::as_str));
            for line in lines.chain(ends) {
                if !wanted.contains(&line) {
                    wanted.push(line);
                }
            }
        }
        wanted.join(" || ")
    }
}

impl Line {
    fn parse(text: &str) -> Self {
        let optional = text.strip_prefix("? ");
        let either = optional.unwrap_or(text).split(" || ").map(String::from).collect();
        Self { optional: optional.is_some(), either }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &Pattern, trace: &str) -> Result<(), (usize, String)> {
        let trace: Vec<String> = trace.split_whitespace().map(String::from).collect();
        pattern.check(&trace).map_err(|d| (d.line, d.wanted))
    }

    #[test]
    fn a_literal_trace_knows_no_language() {
        let pattern = Pattern::literal("? a\nb || c\n}}\n");
        let trace = ["? a", "b || c", "}}"].map(String::from);
        assert_eq!(pattern.check(&trace), Ok(()));
        assert_eq!(pattern.check(&trace[..2]).unwrap_err().wanted, "}}");
        let difference = pattern.check(&["? a".into(), "b".into()]).unwrap_err();
        assert_eq!(difference.to_string(), "line 2: wanted `b || c`, got `b`");
    }

    #[test]
    fn alternatives_and_lines_that_may_be_absent() {
        let pattern = Pattern::parse("a\n? b || c\nd || e").unwrap();
        for right in ["a d", "a b e", "a c d"] {
            assert_eq!(check(&pattern, right), Ok(()), "{right}");
        }
        assert_eq!(check(&pattern, "a b c d"), Err((3, "d || e".into())));
        assert_eq!(check(&pattern, "a b"), Err((3, "d || e".into())));
        assert_eq!(check(&pattern, "a d d"), Err((3, "the end".into())));
        assert_eq!(check(&pattern, "d"), Err((1, "a".into())));
    }

    #[test]
    fn the_lines_of_a_block_come_in_any_order_each_once() {
        let pattern = Pattern::parse("{{ any order\na\n? b\nc || d\n}}\ne").unwrap();
        for right in ["a c e", "d a e", "b d a e", "c b a e", "a d b e"] {
            assert_eq!(check(&pattern, right), Ok(()), "{right}");
        }
        assert_eq!(check(&pattern, "a e"), Err((2, "b || c || d".into())));
        assert_eq!(check(&pattern, "a a c e"), Err((2, "b || c || d".into())));
        assert_eq!(check(&pattern, "a c d e"), Err((3, "b || e".into())));
    }

    #[test]
    fn a_line_that_fits_twice_is_followed_both_ways() {
        let pattern = Pattern::parse("? a\n{{ any order\na || b\na\n}}").unwrap();
        for right in ["a b", "b a", "a a b", "a b a", "a a a", "a a"] {
            assert_eq!(check(&pattern, right), Ok(()), "{right}");
        }
        assert!(check(&pattern, "b b").is_err());
    }

    #[test]
    fn blocks_that_are_not_in_pairs_are_refused() {
        for (text, want) in [
            ("{{ any order\n{{ any order\n}}", "line 2: a block within a block"),
            ("a\n}}", "line 2: no block to close"),
            ("{{ any order\na", "a block is not closed"),
        ] {
            assert_eq!(Pattern::parse(text).unwrap_err(), want);
        }
    }
}
