//! `RTL_BITMAP`: bits in words of 32, counted from the lowest of the first.

use crate::guest::Ptr;

/// `RTL_BITMAP`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Bitmap {
    size: u32,
    words: Ptr<u32>,
}

/// `RTL_BITMAP_RUN`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Run {
    start: u32,
    len: u32,
}

/// Nothing was found.
const NOWHERE: u32 = u32::MAX;

impl Bitmap {
    /// A word, turned so that its ones are the wanted bits.
    fn word(self, nth: u32, set: bool) -> u32 {
        let word = self.words.at(nth as usize).get();
        if set { word } else { !word }
    }

    /// The first such bit from there on.
    fn next(self, from: u32, set: bool) -> Option<u32> {
        let mut mask = u32::MAX << (from % 32);
        for nth in from / 32..self.size.div_ceil(32) {
            match self.word(nth, set) & mask {
                0 => mask = u32::MAX,
                ones => return Some(nth * 32 + ones.trailing_zeros()).filter(|&bit| bit < self.size),
            }
        }
        None
    }

    /// The first run of such bits from there on.
    fn run(self, from: u32, set: bool) -> Option<Run> {
        let start = self.next(from, set)?;
        let end = self.next(start, !set).unwrap_or(self.size);
        Some(Run { start, len: end - start })
    }

    fn runs(self, set: bool) -> impl Iterator<Item = Run> {
        let from = move |start| self.run(start, set);
        std::iter::successors(from(0), move |last| from(last.start + last.len))
    }

    /// Whether all of these bits are there.
    fn has(self, start: u32, len: u32) -> bool {
        len != 0 && start < self.size && len <= self.size - start
    }

    /// Sets or clears bits that are there.
    fn change(self, start: u32, len: u32, set: bool) {
        if !self.has(start, len) {
            return;
        }
        let (mut bit, end) = (start, start + len);
        while bit < end {
            let n = (32 - bit % 32).min(end - bit);
            let mask = (u32::MAX >> (32 - n)) << (bit % 32);
            let word = self.words.at(bit as usize / 32);
            word.set(if set { word.get() | mask } else { word.get() & !mask });
            bit += n;
        }
    }

    /// That many such bits together, from a hint on and then from the start.
    fn find(self, len: u32, hint: u32, set: bool) -> u32 {
        let hint = if hint < self.size { hint } else { 0 };
        if len == 0 {
            return hint & !7;
        }
        let from = |start| {
            let first = self.run(start, set);
            let mut all = std::iter::successors(first, |last| self.run(last.start + last.len, set));
            all.find(|run| run.len >= len).map(|run| run.start)
        };
        from(hint).or_else(|| from(0)).unwrap_or(NOWHERE)
    }

    fn find_and_change(self, len: u32, hint: u32, set: bool) -> u32 {
        let place = self.find(len, hint, set);
        if place != NOWHERE {
            self.change(place, len, !set);
        }
        place
    }

    fn all(self, start: u32, len: u32, set: bool) -> u8 {
        let all = || self.next(start, !set).is_none_or(|other| other >= start + len);
        (self.has(start, len) && all()).into()
    }

    fn count(self, set: bool) -> u32 {
        self.runs(set).map(|run| run.len).sum()
    }

    /// The runs, as many as there is room for: the first, or the longest ones, longest first.
    fn give(self, out: Ptr<Run>, room: u32, longest: u8, set: bool) -> u32 {
        let room = room as usize;
        let runs: Vec<Run> = if longest == 0 {
            self.runs(set).take(room).collect()
        } else {
            let mut all: Vec<Run> = self.runs(set).collect();
            all.sort_by_key(|run| std::cmp::Reverse(run.len));
            all.truncate(room);
            all
        };
        out.fill(&runs);
        crate::text::length(runs.len())
    }

    fn longest(self, start: Ptr<u32>, set: bool) -> u32 {
        // Of two that are equally long the first.
        let longest = self.runs(set).reduce(|best, run| if run.len > best.len { run } else { best });
        start.put(longest.map_or(0, |run| run.start));
        longest.map_or(0, |run| run.len)
    }

    fn forward(self, from: u32, start: Ptr<u32>, set: bool) -> u32 {
        let run = if from < self.size { self.run(from, set) } else { None };
        start.put(run.map_or(from, |run| run.start));
        run.map_or(0, |run| run.len)
    }

    /// The last run that begins at this bit or before it, as far as this bit.
    fn backward(self, from: u32, start: Ptr<u32>, set: bool) -> u32 {
        let Some(end) = from.checked_add(1).filter(|_| from < self.size) else {
            start.put(from);
            return 0;
        };
        let run = Self { size: end, ..self }.runs(set).last();
        start.put(run.map_or(from, |run| run.start));
        run.map_or(0, |run| run.len)
    }
}

extern "win64" fn RtlInitializeBitMap(map: Ptr<Bitmap>, words: Ptr<u32>, size: u32) {
    map.put(Bitmap { size, words });
}

macro_rules! both {
    ($($set:ident $clear:ident($($arg:ident: $type:ty),*) $(-> $ret:ty)? = $how:ident;)*) => {$(
        extern "win64" fn $set(map: Ptr<Bitmap>, $($arg: $type),*) $(-> $ret)? {
            map.get().$how($($arg,)* true)
        }
        extern "win64" fn $clear(map: Ptr<Bitmap>, $($arg: $type),*) $(-> $ret)? {
            map.get().$how($($arg,)* false)
        }
    )*};
}

both! {
    RtlSetBits RtlClearBits(start: u32, len: u32) = change;
    RtlAreBitsSet RtlAreBitsClear(start: u32, len: u32) -> u8 = all;
    RtlNumberOfSetBits RtlNumberOfClearBits() -> u32 = count;
    RtlFindSetBits RtlFindClearBits(len: u32, hint: u32) -> u32 = find;
    RtlFindSetBitsAndClear RtlFindClearBitsAndSet(len: u32, hint: u32) -> u32 = find_and_change;
    RtlFindSetRuns RtlFindClearRuns(out: Ptr<Run>, room: u32, longest: u8) -> u32 = give;
    RtlFindLongestRunSet RtlFindLongestRunClear(start: Ptr<u32>) -> u32 = longest;
    RtlFindNextForwardRunSet RtlFindNextForwardRunClear(from: u32, start: Ptr<u32>) -> u32 = forward;
    RtlFindLastBackwardRunSet RtlFindLastBackwardRunClear(from: u32, start: Ptr<u32>) -> u32 = backward;
}

/// Whole words, also the bits behind the last one that counts.
fn whole(map: Ptr<Bitmap>, word: u32) {
    let Bitmap { size, words } = map.get();
    (0..size.div_ceil(32)).for_each(|nth| words.at(nth as usize).set(word));
}

extern "win64" fn RtlSetAllBits(map: Ptr<Bitmap>) {
    whole(map, u32::MAX);
}

extern "win64" fn RtlClearAllBits(map: Ptr<Bitmap>) {
    whole(map, 0);
}

extern "win64" fn RtlSetBit(map: Ptr<Bitmap>, bit: u32) {
    map.get().change(bit, 1, true);
}

extern "win64" fn RtlClearBit(map: Ptr<Bitmap>, bit: u32) {
    map.get().change(bit, 1, false);
}

extern "win64" fn RtlTestBit(map: Ptr<Bitmap>, bit: u32) -> u8 {
    map.get().all(bit, 1, true)
}

table! {
    /// Bitmaps.
    pub(crate) TABLE:
        RtlInitializeBitMap, RtlSetBits, RtlClearBits, RtlAreBitsSet, RtlAreBitsClear, RtlNumberOfSetBits,
        RtlNumberOfClearBits, RtlFindSetBits, RtlFindClearBits, RtlFindSetBitsAndClear, RtlFindClearBitsAndSet,
        RtlFindSetRuns, RtlFindClearRuns, RtlFindLongestRunSet, RtlFindLongestRunClear, RtlFindNextForwardRunSet,
        RtlFindNextForwardRunClear, RtlFindLastBackwardRunSet, RtlFindLastBackwardRunClear, RtlSetAllBits,
        RtlClearAllBits, RtlSetBit, RtlClearBit, RtlTestBit
}
