//! Bloom filters over names: what nobody can have is not asked for.

use crate::Image;

/// The names that one module may define, in the form of a GNU hash table's filter: a name sets two bits of one word.
/// It may say yes of a name that is not there, never no of one that is.
#[derive(Clone, Debug)]
pub struct NameFilter {
    /// A power of two of them.
    words: Box<[u64]>,
    /// The second bit is this much further up in the hash.
    shift: u32,
}

/// So many names make one in sixteen others pass.
const NAMES_IN_A_WORD: usize = 8;

impl NameFilter {
    /// A filter that rules nothing out.
    #[must_use]
    pub fn open() -> Self {
        Self { words: [u64::MAX].into(), shift: 0 }
    }

    /// A filter that rules everything out.
    #[must_use]
    pub fn closed() -> Self {
        Self { words: [0].into(), shift: 0 }
    }

    /// The filter of names with these GNU hashes.
    #[must_use]
    pub fn of(hashes: impl ExactSizeIterator<Item = u32>) -> Self {
        let words = vec![0; (hashes.len() / NAMES_IN_A_WORD + 1).next_power_of_two()];
        let mut filter = Self { words: words.into(), shift: u32::BITS - 6 };
        hashes.for_each(|hash| {
            let (word, bits) = filter.place(hash);
            filter.words[word] |= bits;
        });
        filter
    }

    /// The filter of a GNU hash table; `None` for a shape that such a table cannot have.
    #[must_use]
    pub fn gnu(words: Box<[u64]>, shift: u32) -> Option<Self> {
        (words.len().is_power_of_two() && shift < u32::BITS).then_some(Self { words, shift })
    }

    /// The word of a hash, and its two bits there.
    #[inline]
    fn place(&self, hash: u32) -> (usize, u64) {
        let word = (hash / 64) as usize & (self.words.len() - 1);
        (word, 1 << (hash % 64) | 1 << ((hash >> self.shift) % 64))
    }

    /// Whether the module may define a name of this GNU hash.
    #[inline]
    #[must_use]
    pub fn may_have(&self, hash: u32) -> bool {
        let (word, bits) = self.place(hash);
        self.words[word] & bits == bits
    }

    /// The same for a hash out of a GNU hash table's chains, whose lowest bit is not known.
    #[inline]
    #[must_use]
    pub fn may_have_either(&self, hash: u32) -> bool {
        self.may_have(hash) || self.may_have(hash ^ 1)
    }
}

const WORDS: usize = 2048;

/// Which GNU hashes a group of modules may define. It may say yes of one that nobody defines, never no of one that
/// somebody does.
#[derive(Clone, Debug, Default)]
pub(crate) struct HashFilter {
    /// None at all before the first module is added.
    words: Vec<u64>,
    /// A module could not list its hashes: nothing can be ruled out.
    open: bool,
}

impl HashFilter {
    /// Adds a module's names.
    pub(crate) fn add(&mut self, image: &dyn Image) {
        self.words.resize(WORDS, 0);
        match image.export_hashes() {
            Some(hashes) => {
                hashes.for_each(|h| places(h).into_iter().for_each(|(w, bit)| self.words[w] |= bit))
            }
            None => self.open = true,
        }
    }

    /// Whether any of the modules may define a name of this hash.
    #[inline]
    pub(crate) fn may_have(&self, hash: u32) -> bool {
        let is_set = |(word, bit): (usize, u64)| self.words.get(word).is_some_and(|word| word & bit != 0);
        self.open || places(hash).into_iter().all(is_set)
    }
}

/// Places of a [`CountedFilter`].
const COUNTS: usize = WORDS * 64;

/// As [`HashFilter`], but modules can leave it: it counts who set each place.
#[derive(Clone, Debug)]
pub(crate) struct CountedFilter {
    /// A full count stays as it is, whoever leaves.
    counts: Box<[u8; COUNTS]>,
    /// So many modules could not list their hashes.
    open: usize,
}

impl Default for CountedFilter {
    fn default() -> Self {
        Self { counts: Box::new([0; COUNTS]), open: 0 }
    }
}

impl CountedFilter {
    /// Adds a module's names.
    pub(crate) fn add(&mut self, image: &dyn Image) {
        match image.export_hashes() {
            Some(hashes) => hashes.for_each(|hash| self.change(hash, |n| n.saturating_add(1))),
            None => self.open += 1,
        }
    }

    /// Takes them out again.
    pub(crate) fn remove(&mut self, image: &dyn Image) {
        match image.export_hashes() {
            Some(hashes) => {
                hashes.for_each(|hash| self.change(hash, |n| if n == u8::MAX { n } else { n - 1 }))
            }
            None => self.open -= 1,
        }
    }

    fn change(&mut self, hash: u32, change: impl Fn(u8) -> u8) {
        for (word, bit) in places(hash) {
            let count = &mut self.counts[word * 64 + bit.trailing_zeros() as usize];
            *count = change(*count);
        }
    }

    /// Whether any of the modules may define a name of this hash.
    #[inline]
    pub(crate) fn may_have(&self, hash: u32) -> bool {
        let is_set = |(word, bit): (usize, u64)| self.counts[word * 64 + bit.trailing_zeros() as usize] != 0;
        self.open != 0 || places(hash).into_iter().all(is_set)
    }
}

/// The two bits of a hash, whose own lowest bit does not count: GNU hash tables keep their end mark there.
#[inline]
fn places(hash: u32) -> [(usize, u64); 2] {
    let mixed = u64::from(hash | 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    [mixed >> 47, (mixed >> 30) & 0x1_ffff].map(|place| ((place >> 6) as usize, 1 << (place & 63)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HostModule, gnu_hash};

    #[test]
    fn what_was_added_may_be_there_and_most_else_is_not() {
        let names: Vec<String> = (0..4000).map(|n| format!("function_{n}")).collect();
        let module = names.iter().fold(HostModule::new("m"), |m, n| m.function(n, std::ptr::null()));
        let mut filter = HashFilter::default();
        assert!(!filter.may_have(gnu_hash(b"function_1")));
        filter.add(&module);
        assert!(names.iter().all(|n| filter.may_have(gnu_hash(n.as_bytes()))));
        let others = (0..4000).filter(|n| filter.may_have(gnu_hash(format!("other_{n}").as_bytes()))).count();
        assert!(others < 100, "{others} of 4000 strangers were let in"); // 8,000 bits of 131,072: 0.4 % expected
    }

    #[test]
    fn a_filter_of_hashes_lets_these_names_in_and_few_others() {
        let hashes =
            |what: &str| (0..1000).map(move |n| gnu_hash(format!("{what}_{n}").as_bytes())).collect();
        let (names, others): (Vec<u32>, Vec<u32>) = (hashes("function"), hashes("other"));
        let filter = NameFilter::of(names.iter().copied());
        assert!(names.iter().all(|&hash| filter.may_have(hash)));
        let let_in = others.iter().filter(|&&hash| filter.may_have(hash)).count();
        assert!(let_in < 100, "{let_in} of 1000 strangers were let in"); // (1,000 * 2 / 8,192)^2: 60 expected
        assert!(!NameFilter::of([].into_iter()).may_have(names[0]));
    }

    #[test]
    fn who_leaves_a_counted_filter_takes_its_names_along_and_nobody_elses() {
        let module =
            |names: &[&str]| names.iter().fold(HostModule::new("m"), |m, n| m.function(n, std::ptr::null()));
        let (one, two) = (module(&["common", "one"]), module(&["common", "two"]));
        let mut filter = CountedFilter::default();
        let has = |filter: &CountedFilter| {
            ["common", "one", "two"].map(|n| filter.may_have(gnu_hash(n.as_bytes())))
        };
        filter.add(&one);
        filter.add(&two);
        assert_eq!(has(&filter), [true, true, true]);
        filter.remove(&one);
        assert_eq!(has(&filter), [true, false, true]);
        (0..300).for_each(|_| filter.add(&one)); // more than a count can hold
        (0..300).for_each(|_| filter.remove(&one));
        filter.remove(&two);
        assert_eq!(has(&filter), [true, true, false]);
    }
}
