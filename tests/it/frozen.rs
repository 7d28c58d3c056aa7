//! What earlier versions left on a device stays readable: `fixtures/` is added to, never edited.
//!
//! `fixtures/state/0001/*.sql` are databases of real devices at migration 1, each stopped at another moment.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use compose_upgrade::backup::{BackupManager, PartRecord};
use compose_upgrade::progress::{Event, Outcome};
use compose_upgrade::settings::{Settings, Way};
use compose_upgrade::state::Store;
use compose_upgrade::upgrade::journal::{self, ChangeState, Journal, StepState};
use compose_upgrade::upgrade::plan::{Facts, Plan};
use compose_upgrade::upgrade::report::Report;
use compose_upgrade::upgrade::runner::{Effects, Runner};
use compose_upgrade::upgrade::step::Step;
use compose_upgrade::{Fault, Result};
use serde_json::{Value, json};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(fixture(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A database as it was left, opened by this version.
fn database(folder: &Path, name: &str) -> Arc<Store> {
    let path = folder.join(format!("{name}.db"));
    let old = rusqlite::Connection::open(&path).unwrap();
    old.execute_batch(&read(&format!("state/0001/{name}.sql"))).unwrap();
    drop(old);
    Arc::new(Store::open_known(&path).unwrap())
}

const STATES: [(&str, ChangeState); 5] = [
    ("preparing", ChangeState::Running),
    ("swapping", ChangeState::Running),
    ("tidying", ChangeState::Running),
    ("undoing", ChangeState::Undoing),
    ("needs_attention", ChangeState::NeedsAttention),
];

/// Every change with the state of each of its steps.
fn replayed(store: &Arc<Store>) -> Value {
    let journal = Journal::new(store.clone());
    let rows: Vec<(String, Option<String>)> = store
        .with(|db| {
            db.prepare("SELECT id, outcome FROM upgrades ORDER BY rowid")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })
        .unwrap();
    let one = |(id, outcome): (String, Option<String>)| {
        let change = journal.get(&id).unwrap().unwrap();
        let plan = Plan::from_json(&change.plan, &id).unwrap();
        let facts: Facts = serde_json::from_str(&change.facts).unwrap();
        let told = outcome.map(|text| serde_json::from_str::<Outcome>(&text).unwrap());
        let steps = plan.steps();
        let states = journal.replay(&id, steps.len()).unwrap();
        let line = |(step, state): (&Step, StepState)| format!("{}: {state:?}", step.name());
        json!({
            "kind": change.kind, "to": plan.to.to_string(), "state": change.state.name(),
            "attempts": change.attempts, "backup": facts.backup_id.is_some(),
            "created": facts.created.keys().collect::<Vec<_>>(),
            "exit_code": told.map(|told| told.exit_code),
            "steps": steps.iter().zip(states).map(line).collect::<Vec<_>>(),
        })
    };
    rows.into_iter().map(one).collect()
}

#[test]
fn old_databases_are_migrated_and_every_journal_replays() {
    let folder = tempfile::tempdir().unwrap();
    for (name, state) in STATES {
        let store = database(folder.path(), name);
        let expected: Value = serde_json::from_str(&read(&format!("state/0001/{name}.json"))).unwrap();
        assert_eq!(replayed(&store), expected, "{name}");
        let open = Journal::new(store.clone()).unfinished().unwrap().unwrap();
        assert_eq!((open.state, open.undo_attempts, open.parent), (state, 0, None), "{name}");
        let bundles: i64 = store
            .with(|db| {
                let sql = "SELECT count(*) FROM releases WHERE bundle_hash IS NOT NULL AND content IS NULL";
                db.query_row(sql, [], |row| row.get(0))
            })
            .unwrap();
        assert!(bundles > 0, "{name}");
    }
}

/// The journal once more, as lines beside the database: of a client that was killed before it swapped its last service.
#[test]
fn the_first_twin_of_a_journal_is_read_and_replays() {
    let folder = tempfile::tempdir().unwrap();
    let work = folder.path().join("work");
    fs::create_dir_all(work.join("u1")).unwrap();
    fs::copy(fixture("state/journal-v1.jsonl"), work.join("u1/journal.jsonl")).unwrap();
    let told = journal::unfinished_in(&work).unwrap();
    assert_eq!(journal::told_in(&work, "u1").as_ref(), Some(&told));
    let (id, kind, to) = (told.id.as_str(), told.kind.as_str(), told.to.as_str());
    assert_eq!((id, kind, told.from.as_deref(), to), ("u1", "upgrade", Some("1.0.0"), "1.1.0"));
    assert_eq!((told.state, &told.parent), (ChangeState::Running, &None));
    let facts: Facts = serde_json::from_str(&told.facts).unwrap();
    assert_eq!((facts.touched, facts.data_at_risk, facts.backup_id.is_some()), (true, true, true));
    assert_eq!(facts.created.keys().collect::<Vec<_>>(), ["app", "db"]);
    let steps = Plan::from_json(&told.plan, "u1").unwrap().steps();
    let states = journal::replay("u1", steps.len(), &told.marks).unwrap();
    let begun: Vec<String> = steps
        .iter()
        .zip(&states)
        .filter(|(_, state)| **state == StepState::Started)
        .map(|(step, _)| step.name())
        .collect();
    assert_eq!(begun, ["swap:app"]);
    assert_eq!(states.iter().filter(|state| **state == StepState::Done).count(), 13);
}

/// The row of a backup whose data is copied, in the copy.
#[test]
fn the_first_row_in_a_copy_is_read_where_the_state_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let backups = folder.path().join("backups");
    let row: Value = serde_json::from_str(&read("backup/v1-copy.record.json")).unwrap();
    let copy = backups.join(format!("{}.stage", row["file"].as_str().unwrap()));
    fs::create_dir_all(copy.join("persist/data")).unwrap();
    fs::copy(fixture("backup/v1-copy.record.json"), copy.join(".record.json")).unwrap();
    let manager = BackupManager::new(Arc::new(Store::in_memory().unwrap()), backups);
    let recovered = manager.recover(&AtomicBool::new(false)).unwrap();
    let again = serde_json::to_value(&recovered.added).unwrap();
    let mut expected = row;
    expected.as_object_mut().unwrap().remove("schema");
    assert_eq!(again, json!([expected]));
    assert_eq!(manager.staged().unwrap(), recovered.added);
}

/// A world in which everything works.
struct Fair;

#[async_trait]
impl Effects for Fair {
    async fn apply(&mut self, _: &Step) -> Result<()> {
        Ok(())
    }

    async fn revert(&mut self, _: &Step) -> Result<()> {
        Ok(())
    }

    async fn outlasted(&mut self, _: &Fault) -> bool {
        false
    }
}

#[tokio::test]
async fn what_old_journals_left_open_is_brought_to_an_end_on_either_side() {
    let folder = tempfile::tempdir().unwrap();
    for (name, state) in STATES {
        let store = database(folder.path(), name);
        let journal = Journal::new(store);
        let change = journal.unfinished().unwrap().unwrap();
        let steps = Plan::from_json(&change.plan, &change.id).unwrap().steps();
        let mut runner = Runner::new(&journal, &change.id, steps.clone()).unwrap();
        assert_eq!(runner.committed(), name == "tidying", "{name}");
        if state == ChangeState::Running {
            runner.forward(&mut Fair).await.unwrap();
            let states = journal.replay(&change.id, steps.len()).unwrap();
            assert!(states.iter().all(|state| *state == StepState::Done), "{name}: {states:?}");
        } else {
            let left = runner.back(&mut Fair).await;
            assert!(left.vital.is_empty() && left.remains.is_empty(), "{name}: {left:?}");
            let states = journal.replay(&change.id, steps.len()).unwrap();
            assert!(states.iter().all(|state| !state.has_effect()), "{name}: {states:?}");
        }
    }
}

#[test]
fn the_first_settings_are_read() {
    Settings::load(&fixture("settings/v1-defaults.toml")).unwrap();
    let settings = Settings::load(&fixture("settings/v1.toml")).unwrap();
    assert_eq!(
        (settings.project.as_str(), settings.source.as_str()),
        ("shop", "https://example.invalid/shop")
    );
    assert_eq!(settings.persist, ["etc/extra"]);
    assert_eq!((settings.backup.level, settings.keep.releases, settings.download.attempts), (Some(9), 2, 7));
    assert!(settings.insecure && settings.report.url.is_empty());
}

#[test]
fn the_first_settings_of_single_volumes_are_read() {
    let backup = Settings::load(&fixture("settings/v1-backups.toml")).unwrap().backup;
    let retention = &backup.retention;
    assert_eq!((retention.last, retention.daily, retention.weekly, retention.monthly), (3, 7, 4, 6));
    assert_eq!((retention.max_bytes, backup.copy.recipients.len()), (Some(50_000_000_000), 1));
    let (uploads, pgdata) = (&backup.data["uploads"], &backup.data["pgdata"]);
    assert_eq!(
        (uploads.way, uploads.include[0].as_str(), uploads.exclude[0].as_str()),
        (Way::Stop, "images/**", "thumbs")
    );
    assert_eq!(
        (pgdata.way, pgdata.service.as_deref(), pgdata.restore[0].as_str()),
        (Way::Hook, Some("db"), "psql")
    );
}

#[test]
fn the_first_records_of_parts_are_read_and_nothing_of_them_is_lost() {
    let text = read("backup/v1-parts.json");
    let parts: Vec<PartRecord> = serde_json::from_str(&text).unwrap();
    let again: Value = serde_json::to_value(&parts).unwrap();
    assert_eq!(again, serde_json::from_str::<Value>(&text).unwrap());
}

#[test]
fn the_first_streams_of_events_are_read_and_nothing_of_them_is_lost() {
    for (name, exit_code) in [("events/v1-completed.jsonl", 0), ("events/v1-rolled-back.jsonl", 20)] {
        let text = read(name);
        let lines: Vec<&str> = text.lines().collect();
        let (last, events) = lines.split_last().unwrap();
        let value = |line: &str| serde_json::from_str::<Value>(line).unwrap();
        for line in events {
            let event: Event = serde_json::from_str(line).unwrap();
            assert_eq!(serde_json::to_value(event).unwrap(), value(line), "{name}");
        }
        let outcome: Outcome = serde_json::from_str(last).unwrap();
        assert_eq!(outcome.exit_code, exit_code, "{name}");
        let again = serde_json::to_value(&outcome).unwrap();
        for (key, was) in value(last).as_object().unwrap() {
            assert_eq!(&again[key], was, "{name}: {key}");
        }
    }
}

#[test]
fn the_first_report_is_read_and_nothing_of_it_is_lost() {
    let value: Value = serde_json::from_str(&read("report/v1.json")).unwrap();
    let report: Report = serde_json::from_value(value.clone()).unwrap();
    assert_eq!((report.rollback_level, report.state.as_str()), (1, "rolled_back"));
    assert_eq!(serde_json::to_value(report).unwrap(), value);
}
