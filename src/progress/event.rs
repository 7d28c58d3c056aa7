//! The wire form of progress: events and the final result, as CONTRACT fixes them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::fault::Fault;
use crate::messages::Lang;

/// The public steps of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs)] // the names are the documentation
pub enum Step {
    CheckingUpdates,
    CreatingBackup,
    StoppingServices,
    DownloadingUpdate,
    ExtractingUpdate,
    LoadingImages,
    StartingServices,
    VerifyingServices,
    CleaningUp,
    Completed,
    RollingBack,
    Failed,
}

impl Step {
    /// The wire name.
    pub fn name(self) -> &'static str {
        match self {
            Self::CheckingUpdates => "CheckingUpdates",
            Self::CreatingBackup => "CreatingBackup",
            Self::StoppingServices => "StoppingServices",
            Self::DownloadingUpdate => "DownloadingUpdate",
            Self::ExtractingUpdate => "ExtractingUpdate",
            Self::LoadingImages => "LoadingImages",
            Self::StartingServices => "StartingServices",
            Self::VerifyingServices => "VerifyingServices",
            Self::CleaningUp => "CleaningUp",
            Self::Completed => "Completed",
            Self::RollingBack => "RollingBack",
            Self::Failed => "Failed",
        }
    }
}

/// What an event says about its step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Kind {
    Started,
    Progress,
    Finished,
    Warning,
    Failed,
    Result,
}

/// What `done` and `total` count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Unit {
    Bytes,
    Files,
    Images,
    Services,
}

/// How far a step is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Amount {
    /// Units done.
    pub done: u64,
    /// Units in all, where known.
    pub total: Option<u64>,
    /// What is counted.
    pub unit: Unit,
    /// Units per second, smoothed.
    pub rate: Option<u64>,
    /// Milliseconds left at that rate.
    pub eta_ms: Option<u64>,
}

/// One line of progress.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Always 1.
    pub schema: u32,
    /// 1, 2, 3 … within one run.
    pub seq: u64,
    /// When, UTC.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// The change this belongs to.
    pub upgrade_id: String,
    /// The step.
    pub step: Step,
    /// What about it.
    pub kind: Kind,
    /// In the user's language.
    pub message: String,
    /// `done`, `total`, `unit`, `rate`, `eta_ms`, where the event measures something.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Amount>,
}

/// The error in a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// Stable name, for machines.
    pub code: String,
    /// Object and cause, in the user's language.
    pub message: String,
    /// The next action, in the user's language.
    pub help: String,
}

impl ErrorBody {
    /// Words a fault in `lang`.
    pub fn new(fault: &Fault, lang: Lang) -> Self {
        Self { code: fault.code().name().into(), message: fault.message(lang), help: fault.help(lang) }
    }
}

/// The result of an upgrade or rollback: the last line of the stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Always 1.
    pub schema: u32,
    /// Always `result`.
    pub kind: Kind,
    /// Whether the stack is where it was asked to be.
    pub ok: bool,
    /// Version before; none on a fresh install.
    pub from: Option<String>,
    /// Version asked for.
    pub to: Option<String>,
    /// `none`, `patch`, `full`.
    pub strategy: String,
    /// Why that strategy.
    pub reason: String,
    /// The process's exit code.
    pub exit_code: u8,
    /// Version the stack was brought back to after a failure.
    pub rolled_back_to: Option<String>,
    /// Bytes that came over the network (or out of the source folder).
    pub bytes_downloaded: u64,
    /// Size of the whole bundle.
    pub bytes_bundle: u64,
    /// The backup made for this change.
    pub backup_id: Option<String>,
    /// Per service that was swapped: from the stop of the old container to the readiness of the new one.
    pub downtime_ms: BTreeMap<String, u64>,
    /// Per service that was frozen while its data was read for the backup.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub frozen_ms: BTreeMap<String, u64>,
    /// Of the whole change.
    pub duration_ms: u64,
    /// What failed.
    pub error: Option<ErrorBody>,
    /// Things a person should know (kept edits, added settings, remains to clean by hand).
    #[serde(default)]
    pub warnings: Vec<String>,
    /// The change this is the result of.
    #[serde(default)]
    pub upgrade_id: String,
    /// The package was only fetched, for an upgrade to come.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fetched_ahead: bool,
}

impl Outcome {
    /// One that says nothing yet: not ok, nothing fetched, nothing changed.
    pub fn blank() -> Self {
        Self {
            schema: 1,
            kind: Kind::Result,
            ok: false,
            from: None,
            to: None,
            strategy: "none".into(),
            reason: String::new(),
            exit_code: crate::exit::FAILED,
            rolled_back_to: None,
            bytes_downloaded: 0,
            bytes_bundle: 0,
            backup_id: None,
            downtime_ms: BTreeMap::new(),
            frozen_ms: BTreeMap::new(),
            duration_ms: 0,
            error: None,
            warnings: Vec::new(),
            upgrade_id: String::new(),
            fetched_ahead: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_the_contract_s_fields() {
        let event = Event {
            schema: 1,
            seq: 17,
            at: OffsetDateTime::UNIX_EPOCH,
            upgrade_id: "u".into(),
            step: Step::DownloadingUpdate,
            kind: Kind::Progress,
            message: "m".into(),
            amount: Some(Amount {
                done: 1_048_576,
                total: Some(73_400_320),
                unit: Unit::Bytes,
                rate: Some(52_428_800),
                eta_ms: Some(1380),
            }),
        };
        let expected = serde_json::json!({"schema":1,"seq":17,"at":"1970-01-01T00:00:00Z","upgrade_id":"u",
            "step":"DownloadingUpdate","kind":"progress","message":"m","done":1_048_576,
            "total":73_400_320,"unit":"bytes","rate":52_428_800,"eta_ms":1380});
        assert_eq!(serde_json::to_value(&event).unwrap(), expected);
        assert_eq!(serde_json::from_value::<Event>(expected).unwrap(), event);
    }
}
