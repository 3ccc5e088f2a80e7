//! Columns under a heading.

use flowlock::escape as shown;
use unicode_width::UnicodeWidthStr as _;

use super::Screen;

/// Columns under a heading.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
    /// The minimum widths of the columns.
    widths: Vec<usize>,
    /// Whether the heading was printed.
    has_begun: bool,
}

impl Table {
    /// A table with these headings.
    pub(crate) fn new(headings: &[&str]) -> Self {
        Self {
            rows: vec![headings.iter().map(|heading| (*heading).to_owned()).collect()],
            widths: vec![0; headings.len()],
            has_begun: false,
        }
    }

    /// Adds a row. Makes its texts safe.
    pub(crate) fn row(&mut self, cells: &[&str]) {
        self.rows.push(cells.iter().map(|cell| shown(cell)).collect());
    }

    /// Returns the whole table, each line with its newline.
    pub(crate) fn text(mut self, screen: Screen) -> String {
        self.take(screen)
    }

    /// Returns the rows that were added since the last call, with the heading the first time; columns
    /// never get narrower.
    pub(crate) fn take(&mut self, screen: Screen) -> String {
        let rows = std::mem::take(&mut self.rows);
        for (column, width) in self.widths.iter_mut().enumerate() {
            *width = rows.iter().map(|row| row[column].width()).max().unwrap_or(0).max(*width);
        }
        let mut text = String::new();
        for row in &rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&self.widths) {
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', width - cell.width() + 2));
            }
            let line = line.trim_end();
            let is_heading = !std::mem::replace(&mut self.has_begun, true);
            text.push_str(&if is_heading { emphasized(line, screen) } else { line.to_owned() });
            text.push('\n');
        }
        text
    }
}

/// Returns bold text, where that is possible.
pub(crate) fn emphasized(text: &str, screen: Screen) -> String {
    if screen.styled { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
}
