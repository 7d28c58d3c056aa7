//! The journal of the change under way once more, as lines in `work/<id>/journal.jsonl`.
//!
//! Where the state database is lost in the middle of a change, nobody could tell any more what ran before: containers
//! of two releases may be there, and the old ones do not run. By its twin the change is finished or undone as if
//! nothing had been lost. It is written after the database. What says that something is done is not synced: a power cut may
//! take it, and the step is done again. A twin that cannot be written to its end is removed, because half of one would
//! mislead.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::state::{ChangeState, Mark};

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

impl Line {
    /// Whether it has to be on the disk before what it announces: without it, something that was begun would not be undone.
    fn announces(&self) -> bool {
        !matches!(self, Self::Mark(_, mark) if [Mark::Done, Mark::Undone].map(Mark::name).contains(&mark.as_str()))
    }
}

/// The twin of one change. It holds what the database does, `.env` and addresses with it: nobody else may read it.
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
        let folder = path
            .parent()
            .map_or(Ok(()), |folder| DirBuilder::new().recursive(true).mode(0o700).create(folder));
        let new = || OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
        self.write(folder.and_then(|()| new()), line);
    }

    /// Adds a line. One that was never begun, or is gone with the change's work files, stays away.
    pub fn add(&self, line: &Line) {
        let Some(path) = &self.0 else { return };
        self.write(OpenOptions::new().append(true).open(path), line);
    }

    fn write(&self, file: std::io::Result<File>, line: &Line) {
        let mut text = serde_json::to_vec(line).expect("a line is always valid JSON");
        text.push(b'\n');
        let write = |mut file: File| {
            file.write_all(&text)?;
            if line.announces() { file.sync_data() } else { Ok(()) }
        };
        match file.and_then(write) {
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

/// The newest unfinished change in the folder `work`. Where the newest that there is cannot be read, none: an older one
/// would mislead.
pub fn unfinished(work: &Path) -> Option<Told> {
    let entries = fs::read_dir(work).into_iter().flatten().flatten();
    let mut ids: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    // They are ordered by time.
    ids.sort_unstable_by(|one, other| other.cmp(one));
    let open = |told: &Told| {
        matches!(told.state, ChangeState::Running | ChangeState::Undoing | ChangeState::NeedsAttention)
    };
    let mut there = ids.iter().filter(|id| work.join(id).join(FILE).exists());
    // One that is over may be left where its folder could not be removed.
    there.find_map(|id| match told(work, id) {
        Some(told) if open(&told) => Some(Some(told)),
        Some(_) => None,
        None => Some(None),
    })?
}

/// The change `id`; none where its twin is not there or cannot be read.
pub fn told(work: &Path, id: &str) -> Option<Told> {
    let text = fs::read_to_string(work.join(id).join(FILE)).ok()?;
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
        assert_eq!(unfinished(&folder.path().join("work")), None);
        twin.begin(&opened());
        twin.add(&Line::Mark(0, "started".into()));
        twin.add(&Line::Facts("{\"touched\":true}".into()));
        twin.add(&Line::State("undoing".into()));
        let path = folder.path().join("work/u1").join(FILE);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"mark\":[0,\"do").unwrap();
        let told = unfinished(&folder.path().join("work")).unwrap();
        assert_eq!(
            (told.id.as_str(), told.from.as_deref(), told.to.as_str()),
            ("u1", Some("1.0.0"), "1.1.0")
        );
        assert_eq!((told.state, told.facts.as_str()), (ChangeState::Undoing, "{\"touched\":true}"));
        assert_eq!(told.marks, [(0, "started".to_owned())]);
        // What cannot be read tells nothing, rather than half of it; nor does an older one in its place.
        file.write_all(b"\n").unwrap();
        Twin::of(&folder.path().join("state.db"), "u0").begin(&opened());
        assert_eq!(unfinished(&folder.path().join("work")), None);
    }

    #[test]
    fn one_that_is_over_is_not_told() {
        let folder = tempfile::tempdir().unwrap();
        let twin = Twin::of(&folder.path().join("state.db"), "u1");
        twin.begin(&opened());
        twin.add(&Line::State("completed".into()));
        assert_eq!(unfinished(&folder.path().join("work")), None);
        Twin::of(&folder.path().join("state.db"), "u0").begin(&opened());
        assert_eq!(unfinished(&folder.path().join("work")).unwrap().id, "u0");
    }

    #[test]
    fn nobody_else_may_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        Twin::of(&folder.path().join("state.db"), "u1").begin(&opened());
        let mode = |path: &str| fs::metadata(folder.path().join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("work/u1"), mode("work/u1/journal.jsonl")), (0o700, 0o600));
    }

    #[test]
    fn a_store_in_memory_has_none() {
        Twin::of(Path::new(MEMORY), "u1").begin(&opened());
        assert!(!Path::new("work").exists());
    }
}
