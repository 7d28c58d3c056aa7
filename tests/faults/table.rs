//! Fault × outcome × seconds to recovery, as Markdown.

use std::collections::BTreeMap;

use crate::case::{Case, Outcome};

/// What came of a case.
pub enum Cell {
    Good(Outcome),
    Bad(String),
}

/// The sections in their order, each with its rows and columns in theirs.
pub struct Table {
    sections: Vec<Section>,
    cells: BTreeMap<String, Cell>,
}

struct Section {
    title: &'static str,
    columns: Vec<String>,
    rows: Vec<(String, Vec<(String, String)>)>,
}

impl Table {
    /// Empty.
    pub fn new(cases: &[Case]) -> Self {
        let mut sections: Vec<Section> = Vec::new();
        for case in cases {
            if sections.last().is_none_or(|section| section.title != case.section) {
                sections.push(Section { title: case.section, columns: Vec::new(), rows: Vec::new() });
            }
            let section = sections.last_mut().expect("one was just pushed");
            if !section.columns.contains(&case.column) {
                section.columns.push(case.column.clone());
            }
            if section.rows.last().is_none_or(|(row, _)| *row != case.row) {
                section.rows.push((case.row.clone(), Vec::new()));
            }
            let (_, row) = section.rows.last_mut().expect("one was just pushed");
            row.push((case.column.clone(), case.name()));
        }
        Self { sections, cells: BTreeMap::new() }
    }

    /// Enters what came of a case.
    pub fn set(&mut self, case: &Case, cell: Cell) {
        self.cells.insert(case.name(), cell);
    }

    /// The bad cells.
    pub fn bad(&self) -> Vec<(&str, &str)> {
        let cells = self.cells.iter();
        cells
            .filter_map(|(name, cell)| match cell {
                Cell::Bad(text) => Some((name.as_str(), text.as_str())),
                Cell::Good(_) => None,
            })
            .collect()
    }

    /// One table per section.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        for section in &self.sections {
            let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
            let mut head = vec![section.title.to_owned()];
            head.extend(section.columns.iter().map(|column| match column.as_str() {
                "" => "outcome".to_owned(),
                column => column.to_owned(),
            }));
            text.push_str(&line(&head));
            text.push_str(&format!("|{}\n", "---|".repeat(head.len())));
            for (row, cells) in &section.rows {
                let mut words = vec![row.clone()];
                for column in &section.columns {
                    let name = cells.iter().find(|(of, _)| of == column).map(|(_, name)| name);
                    words.push(match name.map(|name| self.cells.get(name)) {
                        None => String::new(),
                        Some(None) => "not run".into(),
                        Some(Some(Cell::Bad(_))) => "**BAD**".into(),
                        Some(Some(Cell::Good(outcome))) if outcome.recovery.is_zero() => outcome.text.clone(),
                        Some(Some(Cell::Good(outcome))) => {
                            format!("{}, {:.1} s", outcome.text, outcome.recovery.as_secs_f64())
                        }
                    });
                }
                text.push_str(&line(&words));
            }
            text.push('\n');
        }
        text
    }
}
