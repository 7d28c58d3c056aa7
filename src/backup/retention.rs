//! Which backups the rules no longer keep: a pure decision over the records.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use time::OffsetDateTime;

use super::record::{Kind, Record, Status};
use crate::release::Version;
use crate::settings::RetentionSettings;

/// What was written by a version that was left, nobody may have missed yet.
const SAFE_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

/// What is kept.
#[derive(Debug, Clone)]
pub struct Rules<'r> {
    /// Of those made before an upgrade, and of those made for safety, this many.
    pub keep: usize,
    /// Of those made by a person or the timer.
    pub retention: &'r RetentionSettings,
    /// Whose data may be gone back to: of each of these versions the newest whole backup is kept, whatever the rules say.
    pub versions: &'r [Version],
    /// IDs that are kept, whatever the rules say.
    pub protected: &'r [String],
}

/// The IDs of what is to be deleted, oldest first. `records` are in the order in which they were begun.
pub fn superfluous(records: &[Record], rules: &Rules<'_>, now: OffsetDateTime) -> Vec<String> {
    let mut kept: HashSet<&str> = needed(records, rules, now);
    for kind in [Kind::PreUpgrade, Kind::Safety] {
        kept.extend(newest(records, kind, rules.keep));
    }
    for kind in [Kind::Manual, Kind::Scheduled] {
        kept.extend(by_time(records, kind, rules.retention));
    }
    // A failed one is of interest until a later one of its kind was good.
    for (index, record) in records.iter().enumerate().filter(|(_, record)| record.status == Status::Failed) {
        let good = |later: &Record| later.kind == record.kind && later.status == Status::Complete;
        if !records[index..].iter().any(good) {
            kept.insert(&record.id);
        }
    }
    let mut gone: HashSet<&str> =
        records.iter().map(|record| record.id.as_str()).filter(|id| !kept.contains(id)).collect();
    gone.extend(too_much(records, &gone, rules, now));
    let gone = |record: &&Record| gone.contains(record.id.as_str());
    records.iter().filter(gone).map(|record| record.id.clone()).collect()
}

/// What is kept whatever the rules say: what is named, what is being written, what a rollback would restore, what was kept
/// for safety lately.
fn needed<'a>(records: &'a [Record], rules: &Rules<'_>, now: OffsetDateTime) -> HashSet<&'a str> {
    let mut needed: HashSet<&str> = records
        .iter()
        .filter(|record| rules.protected.contains(&record.id) || record.status == Status::Running)
        .map(|record| record.id.as_str())
        .collect();
    let young = |record: &&Record| {
        record.kind == Kind::Safety && record.status != Status::Staged && record.started_at > now - SAFE_FOR
    };
    needed.extend(records.iter().filter(young).map(|record| record.id.as_str()));
    for version in rules.versions {
        let of_it =
            |record: &&Record| record.status == Status::Complete && record.version.as_ref() == Some(version);
        needed.extend(records.iter().rev().find(of_it).map(|record| record.id.as_str()));
    }
    needed.extend(copies(records, rules));
    needed
}

/// Copies whose archive could not be written, each as large as the data: the newest, and what a rollback would restore
/// where no later backup of that version is whole. All others would pile up on a disk that is too full already.
fn copies<'a>(records: &'a [Record], rules: &Rules<'_>) -> impl Iterator<Item = &'a str> {
    let is_copy = |record: &&Record| record.status == Status::Staged;
    let newest_of = move |version: &Version| {
        let mut of_it = records.iter().rev().filter(|record| record.version.as_ref() == Some(version));
        let newest = of_it.find(|record| {
            record.status == Status::Complete || (is_copy(record) && record.kind == Kind::PreUpgrade)
        });
        newest.filter(is_copy)
    };
    let newest = records.iter().rev().find(is_copy);
    newest.into_iter().chain(rules.versions.iter().filter_map(newest_of)).map(|record| record.id.as_str())
}

fn complete(records: &[Record], kind: Kind) -> impl Iterator<Item = &Record> {
    records.iter().rev().filter(move |record| record.kind == kind && record.status == Status::Complete)
}

fn newest(records: &[Record], kind: Kind, count: usize) -> impl Iterator<Item = &str> {
    complete(records, kind).take(count).map(|record| record.id.as_str())
}

/// The last ones, and of as many days, weeks and months in which there are any, the newest of each. Everything where
/// there is no such rule.
fn by_time<'a>(records: &'a [Record], kind: Kind, rules: &RetentionSettings) -> HashSet<&'a str> {
    if rules.is_unlimited() {
        return newest(records, kind, usize::MAX).collect();
    }
    let mut kept: HashSet<&str> = newest(records, kind, rules.last).collect();
    type Period = fn(OffsetDateTime) -> (i32, u16);
    let periods: [(usize, Period); 3] = [
        (rules.daily, |at| (at.year(), at.ordinal())),
        (rules.weekly, |at| {
            let (year, week, _) = at.to_iso_week_date();
            (year, week.into())
        }),
        (rules.monthly, |at| (at.year(), u8::from(at.month()).into())),
    ];
    for (count, period) in periods {
        let mut newest_of = BTreeMap::new();
        for record in complete(records, kind) {
            newest_of.entry(period(record.started_at)).or_insert(record.id.as_str());
        }
        kept.extend(newest_of.into_values().rev().take(count));
    }
    kept
}

/// The oldest of what is left over the limit of size; what is needed stays, and so does the newest whole one.
fn too_much<'a>(
    records: &'a [Record],
    gone: &HashSet<&str>,
    rules: &Rules<'_>,
    now: OffsetDateTime,
) -> Vec<&'a str> {
    let Some(limit) = rules.retention.max_bytes else { return Vec::new() };
    let left = || records.iter().filter(|record| !gone.contains(record.id.as_str()));
    let needed = needed(records, rules, now);
    let newest = left().rev().find(|record| record.status == Status::Complete).map(|record| &record.id);
    let mut total: u64 = left().map(|record| record.size).sum();
    let mut also = Vec::new();
    for record in left() {
        if total <= limit {
            break;
        }
        if !needed.contains(record.id.as_str()) && Some(&record.id) != newest {
            total -= record.size;
            also.push(record.id.as_str());
        }
    }
    also
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-21 12:00 UTC);

    fn record(id: &str, kind: Kind, at: OffsetDateTime) -> Record {
        Record {
            id: id.into(),
            file: format!("{id}.tar.gz"),
            kind,
            status: Status::Complete,
            project: "shop".into(),
            version: Some("1.0.0".parse().unwrap()),
            target: None,
            size: 10,
            files: 1,
            hash: None,
            parts: Vec::new(),
            started_at: at,
            ended_at: Some(at),
            error: None,
        }
    }

    fn days_ago(kind: Kind, days: &[i64]) -> Vec<Record> {
        days.iter()
            .map(|day| record(&format!("{kind}-{day}"), kind, NOW - time::Duration::days(*day)))
            .collect()
    }

    fn gone(records: &[Record], rules: &Rules<'_>) -> Vec<String> {
        superfluous(records, rules, NOW)
    }

    const NONE: RetentionSettings =
        RetentionSettings { last: 0, daily: 0, weekly: 0, monthly: 0, max_bytes: None };

    fn rules(retention: &RetentionSettings) -> Rules<'_> {
        Rules { keep: 1, retention, versions: &[], protected: &[] }
    }

    #[test]
    fn before_upgrades_the_newest_are_kept_and_what_was_kept_for_safety_a_week() {
        let mut records = days_ago(Kind::PreUpgrade, &[9, 3, 1]);
        records.extend(days_ago(Kind::Safety, &[30, 8, 2, 1]));
        records.sort_by_key(|record| record.started_at);
        assert_eq!(
            gone(&records, &rules(&NONE)),
            ["safety-30", "pre-upgrade-9", "safety-8", "pre-upgrade-3"]
        );
    }

    #[test]
    fn what_a_person_made_stays_until_a_rule_says_otherwise() {
        let records = days_ago(Kind::Manual, &[900, 30, 1]);
        assert_eq!(gone(&records, &rules(&NONE)), [""; 0]);
        let last = RetentionSettings { last: 2, ..NONE };
        assert_eq!(gone(&records, &rules(&last)), ["manual-900"]);
    }

    #[test]
    fn of_each_day_week_and_month_the_newest_stays() {
        // 2026-11-21 is a Saturday; two on the same day.
        let mut records = days_ago(Kind::Scheduled, &[60, 33, 32, 9, 8, 2, 1, 0]);
        records.push(record("late", Kind::Scheduled, NOW + time::Duration::hours(1)));
        let kept = |retention: RetentionSettings| {
            let gone = gone(&records, &rules(&retention));
            let left = records.iter().filter(|record| !gone.contains(&record.id));
            left.map(|record| record.id.clone()).collect::<Vec<_>>()
        };
        assert_eq!(kept(RetentionSettings { daily: 3, ..NONE }), ["scheduled-2", "scheduled-1", "late"]);
        assert_eq!(kept(RetentionSettings { weekly: 2, ..NONE }), ["scheduled-8", "late"]);
        assert_eq!(kept(RetentionSettings { monthly: 3, ..NONE }), ["scheduled-60", "scheduled-32", "late"]);
    }

    #[test]
    fn what_a_rollback_needs_outlives_every_rule() {
        let old = Record {
            version: Some("0.9.0".parse().unwrap()),
            ..record("old", Kind::Manual, NOW - time::Duration::days(99))
        };
        let mut records = vec![old];
        records.extend(days_ago(Kind::PreUpgrade, &[5, 1]));
        records.push(Record { status: Status::Staged, ..record("staged", Kind::PreUpgrade, NOW) });
        let tight = RetentionSettings { last: 1, max_bytes: Some(1), ..NONE };
        let versions = ["0.9.0".parse().unwrap()];
        let rules = Rules { keep: 0, versions: &versions, ..rules(&tight) };
        assert_eq!(gone(&records, &rules), ["pre-upgrade-5", "pre-upgrade-1"]);
    }

    #[test]
    fn of_copies_without_an_archive_the_newest_stays_and_what_a_rollback_needs() {
        let of = |id: &str, kind, status, version: &str, days| Record {
            status,
            version: Some(version.parse().unwrap()),
            ..record(id, kind, NOW - time::Duration::days(days))
        };
        use {Kind::*, Status::*};
        let records = [
            of("passed over", PreUpgrade, Staged, "1.0.0", 7),
            of("whole", PreUpgrade, Complete, "1.0.0", 6),
            of("of previous, first", PreUpgrade, Staged, "2.0.0", 5),
            of("of previous", PreUpgrade, Staged, "2.0.0", 4),
            of("of a version that failed", Safety, Staged, "4.0.0", 3),
            of("needed", PreUpgrade, Staged, "3.0.0", 3),
            of("came back", PreUpgrade, Staged, "3.0.0", 2),
            of("newest", Safety, Staged, "4.0.0", 1),
        ];
        let versions = ["1.0.0", "2.0.0", "4.0.0"].map(|version| version.parse().unwrap());
        let protected = ["needed".to_owned()];
        let rules = Rules { versions: &versions, protected: &protected, ..rules(&NONE) };
        assert_eq!(
            gone(&records, &rules),
            ["passed over", "of previous, first", "of a version that failed", "came back"]
        );
    }

    #[test]
    fn over_the_limit_of_size_the_oldest_go_but_never_the_newest() {
        let records = days_ago(Kind::Manual, &[4, 3, 2, 1]);
        let limit = |bytes| RetentionSettings { max_bytes: Some(bytes), ..NONE };
        assert_eq!(gone(&records, &rules(&limit(40))), [""; 0]);
        assert_eq!(gone(&records, &rules(&limit(25))), ["manual-4", "manual-3"]);
        assert_eq!(gone(&records, &rules(&limit(0))), ["manual-4", "manual-3", "manual-2"]);
        let mut records = days_ago(Kind::Safety, &[9, 2]);
        records.extend(days_ago(Kind::Manual, &[1]));
        assert_eq!(
            gone(&records, &Rules { keep: 2, ..rules(&limit(0)) }),
            ["safety-9"],
            "the week is not over"
        );
    }

    #[test]
    fn a_failed_one_is_told_of_until_a_later_one_was_good() {
        let failed = |id: &str, days| Record {
            status: Status::Failed,
            size: 0,
            ..record(id, Kind::Manual, NOW - time::Duration::days(days))
        };
        let records = [
            failed("first", 3),
            record("good", Kind::Manual, NOW - time::Duration::days(2)),
            failed("last", 1),
        ];
        assert_eq!(gone(&records, &rules(&NONE)), ["first"]);
    }
}
