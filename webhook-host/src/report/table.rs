//! A table of text: each column is as wide as its longest cell, except the last one, which is not
//! padded.

use sallyport_core::printable::printable;
use std::fmt::Write as _;

/// Cells wider than this don't widen their column.
const MAX_WIDTH: usize = 48;

/// A table with a heading.
pub(super) struct Table<const N: usize> {
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    pub(super) fn new(heading: [&str; N]) -> Self {
        Self {
            rows: vec![heading.map(str::to_owned)],
        }
    }

    /// Adds a row, and escapes characters in it that would be unsafe in a terminal.
    pub(super) fn add(&mut self, cells: [String; N]) {
        let cells = cells.map(|cell| printable(&cell).into_owned());
        self.rows.push(cells);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }

    /// Returns the text of the table. `paint` colours a padded cell, given its row from 0 and its
    /// column.
    pub(super) fn text(&self, paint: impl Fn(usize, usize, String) -> String) -> String {
        let width = |column: usize| {
            let widths = self.rows.iter().map(|row| row[column].chars().count());
            widths
                .filter(|width| *width <= MAX_WIDTH)
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<_> = (0..N).map(width).collect();
        let mut text = String::new();
        for (index, row) in self.rows.iter().enumerate() {
            for (column, cell) in row.iter().enumerate() {
                let is_last = column + 1 == N;
                let padded = match is_last {
                    true => cell.clone(),
                    false => format!("{cell:<width$}  ", width = widths[column]),
                };
                let _ = match index.checked_sub(1) {
                    Some(row) => write!(text, "{}", paint(row, column, padded)),
                    None => write!(text, "{padded}"),
                };
            }
            text.truncate(text.trim_end_matches(' ').len());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_cells_and_long_ones_stand_out() {
        let mut table = Table::new(["A", "B", "C"]);
        table.add(["one".into(), "x".repeat(MAX_WIDTH + 1), "y\n".into()]);
        table.add(["three".into(), "z".into(), String::new()]);
        let expected = format!(
            "A      B  C\none    {}  y\\u{{a}}\nthree  z\n",
            "x".repeat(MAX_WIDTH + 1)
        );
        assert_eq!(table.text(|_, _, cell| cell), expected);
    }
}
