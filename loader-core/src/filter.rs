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

/// The first of a group of modules that may define a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct First {
    /// Its number.
    pub(crate) module: usize,
    /// Where it may have the name: the number in [`Image::export_hashes`].
    pub(crate) nth: Option<u32>,
}

/// Bits of an entry of a [`HashIndex`] for the place of a name in its module. One that does not fit is no hint at all.
const NTH_BITS: u32 = 20;
const NTH: u32 = (1 << NTH_BITS) - 1;
/// Modules whose numbers, counted from 1, fit in the bits between that and the hash.
const MODULES: usize = (1 << (32 - NTH_BITS)) - 1;

/// Which GNU hashes a group of modules may define, and the first of the group that may. It may say yes of one that
/// nobody defines, never no of one that somebody does.
#[derive(Clone, Debug, Default)]
pub(crate) struct HashIndex {
    /// A filter, so that most questions end here; none at all before the first module is added.
    words: Vec<u64>,
    /// A power of two of places: a hash above the number of its module, counted from 1, and the place of the name there,
    /// at its own place or after it.
    firsts: Vec<u64>,
    /// How many of them are taken.
    taken: usize,
    /// How many modules there are.
    modules: usize,
    /// The first module that could not list its hashes: it cannot be ruled out.
    open: Option<usize>,
}

impl HashIndex {
    /// Adds the names of one more module, the last.
    pub(crate) fn add(&mut self, image: &dyn Image) {
        self.words.resize(WORDS, 0);
        let module = self.modules;
        self.modules += 1;
        let Some(hashes) = image.export_hashes().filter(|_| module < MODULES) else {
            self.open.get_or_insert(module);
            return;
        };
        self.reserve(hashes.size_hint().0);
        for (hash, nth) in hashes.zip(0..) {
            places(hash).into_iter().for_each(|(word, bit)| self.words[word] |= bit);
            self.reserve(1);
            let here = (module as u64 + 1) << NTH_BITS | u64::from(NTH.min(nth));
            self.put(u64::from(hash | 1) << 32 | here);
        }
    }

    /// Makes room for so many more.
    fn reserve(&mut self, more: usize) {
        let wanted = (self.taken + more) * 2;
        if wanted <= self.firsts.len() {
            return;
        }
        let before = std::mem::replace(&mut self.firsts, vec![0; wanted.next_power_of_two().max(WORDS)]);
        self.taken = 0;
        before.into_iter().filter(|&entry| entry != 0).for_each(|entry| self.put(entry));
    }

    /// Puts an entry at its place, unless its hash has one already.
    fn put(&mut self, entry: u64) {
        let place = self.place(entry >> 32);
        if self.firsts[place] == 0 {
            self.firsts[place] = entry;
            self.taken += 1;
        }
    }

    /// Where the entry of a hash is, or would be: at least half of the places are free.
    fn place(&self, hash: u64) -> usize {
        let mask = self.firsts.len() - 1;
        let mut place = (mix(hash) >> 32) as usize & mask;
        while self.firsts[place] != 0 && self.firsts[place] >> 32 != hash {
            place = (place + 1) & mask;
        }
        place
    }

    /// Whether any of the modules may define a name of this hash.
    #[inline]
    pub(crate) fn may_have(&self, hash: u32) -> bool {
        let is_set = |(word, bit): (usize, u64)| self.words.get(word).is_some_and(|word| word & bit != 0);
        self.open.is_some() || places(hash).into_iter().all(is_set)
    }

    /// The first of the modules that may.
    #[inline]
    pub(crate) fn first(&self, hash: u32) -> Option<First> {
        if !self.may_have(hash) {
            return None;
        }
        let entry = match self.firsts.is_empty() {
            true => 0,
            false => self.firsts[self.place((hash | 1).into())] as u32,
        };
        let nth = Some(entry & NTH).filter(|&nth| nth != NTH);
        let module = (entry >> NTH_BITS) as usize;
        let listed = module.checked_sub(1).map(|module| First { module, nth });
        listed.into_iter().chain(self.open.map(|module| First { module, nth: None })).min()
    }
}

/// Places of a [`CountedFilter`].
const COUNTS: usize = WORDS * 64;

/// As the filter of a [`HashIndex`], but modules can leave it: it counts who set each place.
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

/// Spreads what differs in a hash over the upper bits.
#[inline]
fn mix(hash: u64) -> u64 {
    hash.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The two bits of a hash, whose own lowest bit does not count: GNU hash tables keep their end mark there.
#[inline]
fn places(hash: u32) -> [(usize, u64); 2] {
    let mixed = mix((hash | 1).into());
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
        let mut filter = HashIndex::default();
        assert!(!filter.may_have(gnu_hash(b"function_1")));
        filter.add(&module);
        assert!(names.iter().all(|n| filter.may_have(gnu_hash(n.as_bytes()))));
        let others = (0..4000).filter(|n| filter.may_have(gnu_hash(format!("other_{n}").as_bytes()))).count();
        assert!(others < 100, "{others} of 4000 strangers were let in"); // 8,000 bits of 131,072: 0.4 % expected
    }

    #[test]
    fn an_index_names_the_first_module_that_has_a_name() {
        let module = |names: std::ops::Range<usize>| {
            names.fold(HostModule::new("m"), |m, n| m.function(&format!("f{n}"), std::ptr::null()))
        };
        let mut index = HashIndex::default();
        assert_eq!(index.first(gnu_hash(b"f1")), None);
        let (low, high) = (module(0..3000), module(2000..5000));
        index.add(&low);
        index.add(&high);
        for n in 0..5000 {
            let hash = gnu_hash(format!("f{n}").as_bytes());
            let (module, image) = if n < 3000 { (0, &low) } else { (1, &high) };
            let nth = image.export_hashes().unwrap().position(|h| h | 1 == hash | 1).map(|nth| nth as u32);
            assert_eq!(index.first(hash), Some(First { module, nth }));
            assert_eq!(index.first(hash ^ 1), index.first(hash), "the lowest bit does not count");
        }
        assert_eq!(index.first(gnu_hash(b"g1")), None);
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
