//! The table of ratios, of whatever was measured last.

fn main() {
    print!("{}", benches::table::Table::read());
}
