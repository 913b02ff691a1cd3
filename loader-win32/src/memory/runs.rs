//! Runs of pages that have something in common: what every state of pages is kept as.

use std::{collections::BTreeMap, ops::Range};

/// Ranges of addresses with a value each. They do not overlap, and neighbours differ.
#[derive(Clone, Debug)]
pub(crate) struct Runs<T>(BTreeMap<u64, (u64, T)>); // start -> end, value

impl<T> Default for Runs<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Copy + PartialEq> Runs<T> {
    /// Gives `range` a value, or none.
    pub(crate) fn set(&mut self, range: Range<u64>, value: Option<T>) {
        if range.is_empty() {
            return;
        }
        self.split(range.start);
        self.split(range.end);
        let inside: Vec<u64> = self.0.range(range.clone()).map(|(&start, _)| start).collect();
        for start in inside {
            self.0.remove(&start);
        }
        let Some(value) = value else { return };
        let before = self.0.range(..range.start).next_back().map(|(&start, &run)| (start, run));
        let start = match before {
            Some((start, run)) if run == (range.start, value) => start,
            _ => range.start,
        };
        let end = match self.0.get(&range.end) {
            Some(&(end, next)) if next == value => end,
            _ => range.end,
        };
        if end != range.end {
            self.0.remove(&range.end);
        }
        self.0.insert(start, (end, value));
    }

    /// Makes an address the start of its run.
    fn split(&mut self, at: u64) {
        if let Some((&start, &(end, value))) = self.0.range(..at).next_back()
            && end > at
        {
            self.0.insert(start, (at, value));
            self.0.insert(at, (end, value));
        }
    }

    /// The run that holds an address: where it ends, at most at `limit`, and its value; `None` between runs.
    pub(crate) fn run(&self, at: u64, limit: u64) -> (u64, Option<T>) {
        if let Some((_, &(end, value))) = self.0.range(..=at).next_back()
            && at < end
        {
            return (end.min(limit), Some(value));
        }
        let next = self.0.range(at..).next();
        (next.map_or(limit, |(&start, _)| start.min(limit)), None)
    }

    /// All of `range`, run by run, the parts between runs included.
    pub(crate) fn within(&self, range: Range<u64>) -> impl Iterator<Item = (Range<u64>, Option<T>)> {
        let mut at = range.start;
        std::iter::from_fn(move || {
            let (end, value) = (at < range.end).then(|| self.run(at, range.end))?;
            let run = at..end;
            at = end;
            Some((run, value))
        })
    }

    /// Whether all of `range` has a value.
    pub(crate) fn cover(&self, range: &Range<u64>) -> bool {
        self.within(range.clone()).all(|(_, value)| value.is_some())
    }

    /// The parts of `range` that have no value.
    pub(crate) fn gaps(&self, range: &Range<u64>) -> Vec<Range<u64>> {
        self.within(range.clone()).filter(|(_, value)| value.is_none()).map(|(run, _)| run).collect()
    }

    /// How many bytes have a value.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.iter().map(|(start, (end, _))| end - start).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_split_and_merge() {
        let mut r = Runs::default();
        r.set(0..100, Some('w'));
        r.set(10..20, Some('r'));
        assert_eq!(
            [r.run(0, 100), r.run(15, 100), r.run(50, 100)],
            [(10, Some('w')), (20, Some('r')), (100, Some('w'))]
        );
        r.set(10..20, Some('w'));
        assert_eq!(r.run(0, 100), (100, Some('w')), "neighbours with one value are one run");
        r.set(30..40, None);
        assert_eq!((r.run(35, 100), r.cover(&(0..30)), r.cover(&(0..31))), ((40, None), true, false));
        assert_eq!((r.gaps(&(20..120)), r.bytes()), (vec![30..40, 100..120], 90));
        assert_eq!(
            r.within(25..45).collect::<Vec<_>>(),
            [(25..30, Some('w')), (30..40, None), (40..45, Some('w'))]
        );
    }
}
