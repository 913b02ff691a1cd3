//! The ratios, as text: this engine beside the system's loader and the `elf_loader` crate.

use crate::{
    dlls, images,
    results::{Outcome, outcome},
};
use std::fmt;

/// What a column shows of an image: a measurement, or one divided by another.
enum Column {
    /// Label, and the measurement.
    Of(&'static str, &'static str),
    /// Label, and the two measurements.
    Ratio(&'static str, &'static str, &'static str),
    /// Label, and the measurement whose things are counted.
    Count(&'static str, &'static str),
}

use Column::{Count, Of, Ratio};

/// One table: what it is about, the group that has its results, nanoseconds to its unit, columns.
struct Part {
    title: &'static str,
    group: &'static str,
    unit: f64,
    columns: &'static [Column],
}

const WAYS: &[Column] = &[
    Of("ours", "ours-file"),
    Of("bytes", "ours-bytes"),
    Of("buffer", "ours-buffer"),
    Of("glibc", "glibc-file"),
    Of("elf_loader", "elf_loader-file"),
    Of("its bytes", "elf_loader-bytes"),
    Ratio("ours/glibc", "ours-file", "glibc-file"),
    Ratio("bytes/glibc", "ours-bytes", "glibc-file"),
    Ratio("buffer/glibc", "ours-buffer", "glibc-file"),
    Ratio("ours/e_l", "ours-file", "elf_loader-file"),
    Ratio("bytes/bytes", "ours-bytes", "elf_loader-bytes"),
];

const PARTS: [Part; 10] = [
    Part {
        title: "Open, the first time, in a forked child of a warm process (us)",
        group: "open",
        unit: 1e-3,
        columns: WAYS,
    },
    Part { title: "Close, in the same child (us)", group: "close", unit: 1e-3, columns: WAYS },
    Part {
        title: "Open and close, again and again in one child (us)",
        group: "again",
        unit: 1e-3,
        columns: WAYS,
    },
    Part {
        title: "Look a symbol up (ns); elf_loader asks the library alone, the others its load list",
        group: "symbol",
        unit: 1.0,
        columns: &[
            Of("ours hit", "ours-hit"),
            Of("glibc hit", "glibc-hit"),
            Of("e_l hit", "elf_loader-hit"),
            Of("ours miss", "ours-miss"),
            Of("glibc miss", "glibc-miss"),
            Of("e_l miss", "elf_loader-miss"),
            Ratio("hit/glibc", "ours-hit", "glibc-hit"),
            Ratio("miss/glibc", "ours-miss", "glibc-miss"),
        ],
    },
    Part {
        title: "Whose an address is, by dladdr (ns)",
        group: "dladdr",
        unit: 1.0,
        columns: &[Of("ours", "ours"), Of("glibc", "glibc"), Ratio("ours/glibc", "ours", "glibc")],
    },
    Part {
        title: "A call that counts a thread-local variable up, found by __tls_get_addr (ns)",
        group: "tls",
        unit: 1.0,
        columns: &[
            Of("ours", "ours"),
            Of("glibc", "glibc"),
            Of("elf_loader", "elf_loader"),
            Ratio("ours/glibc", "ours", "glibc"),
        ],
    },
    Part {
        title: "Open and close one more beside 10, 100 and 1,000 others (us)",
        group: "modules",
        unit: 1e-3,
        columns: &[
            Of("10", "beside-10"),
            Of("100", "beside-100"),
            Of("1,000", "beside-1000"),
            Ratio("100/10", "beside-100", "beside-10"),
            Ratio("1,000/10", "beside-1000", "beside-10"),
        ],
    },
    Part {
        title: "Fixups (ns each): without names, into hot and into fresh memory; with names, lookup included",
        group: "relocate",
        unit: 1.0,
        columns: &[
            Count("without", "hot"),
            Of("hot", "hot"),
            Of("fresh", "fresh"),
            Count("with names", "bind"),
            Of("bind", "bind"),
        ],
    },
    Part {
        title: "DLLs, opened and freed again and again (us), beside Wine and what it costs at least",
        group: "dll",
        unit: 1e-3,
        columns: &[
            Of("ours", "ours-file"),
            Of("bytes", "ours-bytes"),
            Of("floor", "floor"),
            Of("wine", "wine"),
            Ratio("ours/floor", "ours-file", "floor"),
            Ratio("bytes/floor", "ours-bytes", "floor"),
            Ratio("ours/wine", "ours-file", "wine"),
            Ratio("bytes/wine", "ours-bytes", "wine"),
        ],
    },
    Part {
        title: "What Windows code asks of a DLL that is loaded (ns)",
        group: "dll-calls",
        unit: 1.0,
        columns: &[
            Of("ours", "ours"),
            Of("by name", "ours-name"),
            Of("wine", "wine"),
            Ratio("ours/wine", "ours", "wine"),
        ],
    },
];

impl Column {
    fn label(&self) -> &'static str {
        match self {
            Of(label, _) | Ratio(label, ..) | Count(label, _) => label,
        }
    }

    fn cell(&self, part: &Part, image: &str) -> String {
        let one = |what| outcome(part.group, image, what);
        match *self {
            Of(_, what) => match one(what) {
                Outcome::Took(ns, things) => number(ns * part.unit / things as f64),
                Outcome::Note(word) => word,
                Outcome::Unknown => "-".into(),
            },
            Ratio(_, above, below) => match (one(above).nanoseconds(), one(below).nanoseconds()) {
                (Some(above), Some(below)) => format!("{:.2}x", above / below),
                _ => "-".into(),
            },
            Count(_, what) => match one(what) {
                Outcome::Took(_, things) => things.to_string(),
                Outcome::Note(_) | Outcome::Unknown => "-".into(),
            },
        }
    }
}

/// A number with as many digits as mean something.
fn number(n: f64) -> String {
    match n {
        _ if n < 10.0 => format!("{n:.2}"),
        _ if n < 100.0 => format!("{n:.1}"),
        _ => format!("{n:.0}"),
    }
}

/// All results, as rows of text.
#[derive(Clone, Debug)]
pub struct Table(Vec<(&'static str, Vec<Vec<String>>)>);

impl Table {
    /// Reads what was measured.
    #[must_use]
    pub fn read() -> Self {
        let rows = |part: &Part| {
            let head = [""].into_iter().chain(part.columns.iter().map(Column::label));
            let mut rows = vec![head.map(str::to_owned).collect::<Vec<_>>()];
            for image in images::names().chain(dlls::NAMES).chain(dlls::CALLS) {
                let cells = part.columns.iter().map(|c| c.cell(part, image));
                let row: Vec<_> = [image.to_owned()].into_iter().chain(cells).collect();
                if row[1..].iter().any(|cell| cell != "-") {
                    rows.push(row);
                }
            }
            rows
        };
        Self(PARTS.iter().map(|part| (part.title, rows(part))).collect())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (title, rows) in &self.0 {
            writeln!(f, "\n{title}")?;
            let columns = rows.first().map_or(0, Vec::len);
            let width = |n: usize| rows.iter().map(|r| r[n].len()).max().unwrap_or(0);
            let widths: Vec<_> = (0..columns).map(width).collect();
            for row in rows {
                write!(f, "{:<1$}", row[0], widths[0])?;
                for (cell, width) in row.iter().zip(&widths).skip(1) {
                    write!(f, "  {cell:>width$}")?;
                }
                writeln!(f)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Table, number};

    #[test]
    fn numbers_have_three_digits_or_more() {
        assert_eq!(number(0.123), "0.12");
        assert_eq!(number(9.5), "9.50");
        assert_eq!(number(99.94), "99.9");
        assert_eq!(number(12_345.6), "12346");
    }

    #[test]
    fn columns_stand_under_each_other() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let table = Table(vec![("Title", vec![row(["", "ours"]), row(["libz", "1.00"]), row(["a", "12"])])]);
        assert_eq!(table.to_string(), "\nTitle\n      ours\nlibz  1.00\na       12\n");
    }
}
