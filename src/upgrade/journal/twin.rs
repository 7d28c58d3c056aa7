//! The journal of the change under way once more, as lines in `work/<id>/journal.jsonl`.
//!
//! Where the state database is lost in the middle of a change, nobody could tell any more what ran before: containers
//! of two releases may be there, and the old ones do not run. By its twin the change is finished or undone as if
//! nothing had been lost. It is written after the database, survives the process, and is not synced: it matters only where
//! the database is lost as well. A twin that cannot be written to its end is removed, because half of one would mislead.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::state::ChangeState;

const FILE: &str = "journal.jsonl";
/// What an in-memory store says that its path is.
const MEMORY: &str = ":memory:";

/// One thing that was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// The change began; always the first line.
    Opened {
        /// Always 1.
        schema: u32,
        /// As in [`super::Change`].
        kind: String,
        /// The version it leaves.
        from: Option<String>,
        /// The version it leads to.
        to: String,
        /// The change whose failure it answers.
        parent: Option<String>,
        /// The plan, as JSON.
        plan: String,
    },
    /// The plan as it is now.
    Plan(String),
    /// What was learnt so far.
    Facts(String),
    /// Where the change stands.
    State(String),
    /// A mark of a step.
    Mark(usize, String),
}

/// The twin of one change.
pub struct Twin(Option<PathBuf>);

impl Twin {
    /// Of the change `id` that is recorded in the database `state`.
    pub fn of(state: &Path, id: &str) -> Self {
        let root = state.parent().filter(|_| state != Path::new(MEMORY));
        Self(root.map(|root| root.join("work").join(id).join(FILE)))
    }

    /// Begins it.
    pub fn begin(&self, line: &Line) {
        let Some(path) = &self.0 else { return };
        let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
        self.write(folder.and_then(|()| File::create(path)), line);
    }

    /// Adds a line. One that was never begun, or is gone with the change's work files, stays away.
    pub fn add(&self, line: &Line) {
        let Some(path) = &self.0 else { return };
        self.write(OpenOptions::new().append(true).open(path), line);
    }

    fn write(&self, file: std::io::Result<File>, line: &Line) {
        let mut text = serde_json::to_vec(line).expect("a line is always valid JSON");
        text.push(b'\n');
        match file.and_then(|mut file| file.write_all(&text)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::warn!(%error, "the journal's twin cannot be written, and is removed");
                if let Some(Err(error)) = self.0.as_ref().map(fs::remove_file) {
                    tracing::warn!(%error, "it cannot be removed, either");
                }
            }
            _ => {}
        }
    }
}

/// A change as its twin tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Its ID.
    pub id: String,
    /// As in [`super::Change`].
    pub kind: String,
    /// The version it leaves.
    pub from: Option<String>,
    /// The version it leads to.
    pub to: String,
    /// The change whose failure it answers.
    pub parent: Option<String>,
    /// The plan, as JSON.
    pub plan: String,
    /// What was learnt, as JSON.
    pub facts: String,
    /// Where it stands.
    pub state: ChangeState,
    /// The marks of its steps (index, name), in order.
    pub marks: Vec<(usize, String)>,
}

/// The unfinished changes in the folder `work`, the newest first. What cannot be read tells nothing.
pub fn unfinished(work: &Path) -> Vec<Told> {
    let entries = fs::read_dir(work).into_iter().flatten().flatten();
    let mut ids: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    // They are ordered by time.
    ids.sort_unstable_by(|one, other| other.cmp(one));
    let open = |told: &Told| {
        matches!(told.state, ChangeState::Running | ChangeState::Undoing | ChangeState::NeedsAttention)
    };
    ids.iter().filter_map(|id| read(&work.join(id).join(FILE), id)).filter(open).collect()
}

fn read(path: &Path, id: &str) -> Option<Told> {
    let text = fs::read_to_string(path).ok()?;
    // A line that was not written to its end is as if it had not been begun.
    let whole = &text[..text.rfind('\n')? + 1];
    let mut lines = whole.lines().map(serde_json::from_str::<Line>);
    let Some(Ok(Line::Opened { schema: 1, kind, from, to, parent, plan })) = lines.next() else {
        return None;
    };
    let (id, facts, state) = (id.to_owned(), "{}".to_owned(), ChangeState::Running);
    let mut told = Told { id, kind, from, to, parent, plan, facts, state, marks: Vec::new() };
    for line in lines {
        match line.ok()? {
            Line::Opened { .. } => return None,
            Line::Plan(plan) => told.plan = plan,
            Line::Facts(facts) => told.facts = facts,
            Line::State(state) => told.state = ChangeState::from_name(&state)?,
            Line::Mark(step, mark) => told.marks.push((step, mark)),
        }
    }
    Some(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened() -> Line {
        let (kind, to, plan) = ("upgrade".to_owned(), "1.1.0".to_owned(), "{}".to_owned());
        Line::Opened { schema: 1, kind, from: Some("1.0.0".into()), to, parent: None, plan }
    }

    #[test]
    fn a_change_is_told_as_far_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let twin = Twin::of(&folder.path().join("state.db"), "u1");
        twin.add(&Line::Plan("before it began".into()));
        assert!(unfinished(&folder.path().join("work")).is_empty());
        twin.begin(&opened());
        twin.add(&Line::Mark(0, "started".into()));
        twin.add(&Line::Facts("{\"touched\":true}".into()));
        twin.add(&Line::State("undoing".into()));
        let path = folder.path().join("work/u1").join(FILE);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"mark\":[0,\"do").unwrap();
        let told = unfinished(&folder.path().join("work"));
        let [told] = &told[..] else { panic!("{told:?}") };
        assert_eq!(
            (told.id.as_str(), told.from.as_deref(), told.to.as_str()),
            ("u1", Some("1.0.0"), "1.1.0")
        );
        assert_eq!((told.state, told.facts.as_str()), (ChangeState::Undoing, "{\"touched\":true}"));
        assert_eq!(told.marks, [(0, "started".to_owned())]);
        // What cannot be read tells nothing, rather than half of it.
        file.write_all(b"\n").unwrap();
        assert!(unfinished(&folder.path().join("work")).is_empty());
    }

    #[test]
    fn one_that_is_over_is_not_told() {
        let folder = tempfile::tempdir().unwrap();
        let twin = Twin::of(&folder.path().join("state.db"), "u1");
        twin.begin(&opened());
        twin.add(&Line::State("completed".into()));
        assert!(unfinished(&folder.path().join("work")).is_empty());
    }

    #[test]
    fn a_store_in_memory_has_none() {
        Twin::of(Path::new(MEMORY), "u1").begin(&opened());
        assert!(!Path::new("work").exists());
    }
}
