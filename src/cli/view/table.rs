//! Aligned columns. Widths are those of a terminal: an East Asian character takes two columns.

use unicode_width::UnicodeWidthStr;

use super::{Look, Paint, clean};

/// On which side a column is filled up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

struct Cell {
    text: String,
    paint: Option<Paint>,
}

/// Rows of cells under headings.
pub struct Table {
    look: Look,
    columns: Vec<Align>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// An empty table with these headings.
    pub fn new(look: Look, headings: &[(String, Align)]) -> Self {
        let cells = headings.iter().map(|(text, _)| Cell { text: text.clone(), paint: Some(Paint::Dim) });
        let columns = headings.iter().map(|(_, align)| *align).collect();
        Self { look, columns, rows: vec![cells.collect()] }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [(String, Option<Paint>); N]) {
        let one_line = |text: String| clean(&text).replace('\n', " ");
        let cells = cells.into_iter().map(|(text, paint)| Cell { text: one_line(text), paint });
        self.rows.push(cells.collect());
    }

    /// The lines, each behind `indent` spaces, without blanks at their ends.
    pub fn render(&self, indent: usize) -> String {
        let width_of = |column: usize| {
            let widths = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.text.width());
            widths.max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width_of).collect();
        let mut out = String::new();
        for row in &self.rows {
            let mut line = " ".repeat(indent);
            let last = row.iter().rposition(|cell| !cell.text.is_empty()).unwrap_or(0);
            for (column, cell) in row.iter().enumerate().take(last + 1) {
                let fill = " ".repeat(widths[column].saturating_sub(cell.text.width()));
                let text = match cell.paint {
                    Some(paint) => self.look.paint(paint, &cell.text),
                    None => cell.text.clone(),
                };
                let gap = if column == last { "" } else { "  " };
                match self.columns[column] {
                    Align::Left if column == last => line.push_str(&text),
                    Align::Left => line.push_str(&format!("{text}{fill}{gap}")),
                    Align::Right => line.push_str(&format!("{fill}{text}{gap}")),
                }
            }
            out.push_str(&line);
            out.push('\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::Lang;

    #[test]
    fn columns_are_aligned_whatever_the_script() {
        let look = Look { lang: Lang::Zh, colour: false };
        let mut table = Table::new(
            look,
            &[("服务".into(), Align::Left), ("大小".into(), Align::Right), ("x".into(), Align::Left)],
        );
        table.row([("web".into(), None), ("9 B".into(), None), ("健康".into(), None)]);
        table.row([("数据库服务".into(), None), ("70.0 MiB".into(), None), (String::new(), None)]);
        let expected = "  服务            大小  x\n  web              9 B  健康\n  数据库服务  70.0 MiB\n";
        assert_eq!(table.render(2), expected);
    }

    #[test]
    fn colours_do_not_count_as_width() {
        let look = Look { lang: Lang::En, colour: true };
        let mut table = Table::new(look, &[("A".into(), Align::Left), ("B".into(), Align::Left)]);
        table.row([("ok".into(), Some(Paint::Good)), ("x".into(), None)]);
        assert_eq!(table.render(0), "\x1b[2mA\x1b[0m   \x1b[2mB\x1b[0m\n\x1b[32mok\x1b[0m  x\n");
    }
}
