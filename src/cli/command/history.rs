//! `client history`.

use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::{backend, view};
use crate::fault::Result;
use crate::upgrade::HistoryEntry;

use super::{Answer, whole_id};

#[derive(Serialize)]
struct List<'a> {
    schema: u32,
    changes: &'a [HistoryEntry],
}

#[derive(Serialize)]
struct One<'a> {
    schema: u32,
    #[serde(flatten)]
    change: &'a HistoryEntry,
}

/// All changes, or one with its journal.
pub fn run(id: Option<&str>, context: &Context) -> Result<Answer> {
    let installation = context.installation()?;
    let changes = backend::history(&installation)?;
    let Some(given) = id else {
        let text = view::history::list(&changes, context.out);
        return Answer::report(&List { schema: 1, changes: &changes }, text);
    };
    let id = whole_id(given, changes.iter().map(|change| change.id.as_str()));
    let change = backend::history_entry(&installation, id)?;
    Answer::report(&One { schema: 1, change: &change }, view::history::entry(&change, context.out))
}
