//! What `client doctor` says, in both languages.

use super::Lang;

/// Something that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // the words are in `text`
pub enum Look {
    Engine { version: String },
    Compose { version: String },
    Installation { project: String },
    Disk { path: String, mib: u64 },
    Clock { now: String },
    Source { newest: String },
    Pointer { name: &'static str, version: String },
    NoPointer { name: &'static str },
    Edited { name: &'static str, version: String, paths: String, diff: String },
    NothingUnfinished,
    Unfinished { id: String, state: &'static str },
    Reserve,
    ReserveMissing { path: String },
    StateRebuilt,
    BackupsAgree,
    BackupProblem { what: String },
}

impl Look {
    /// What was found.
    pub fn text(&self, lang: Lang) -> String {
        use Look::*;
        let zh = lang == Lang::Zh;
        match self {
            Engine { version } => format!("Docker Engine {version}"),
            Compose { version } => format!("Docker Compose {version}"),
            Installation { project } if zh => format!("项目 {project}"),
            Installation { project } => format!("project {project}"),
            Disk { path, mib } if zh => format!("{path} 可用 {mib} MiB"),
            Disk { path, mib } => format!("{mib} MiB are free on the disk of {path}"),
            Clock { now } if zh => format!("时钟：{now}"),
            Clock { now } => format!("the clock says {now}"),
            Source { newest } if zh => format!("更新源可用，最新版本 {newest}"),
            Source { newest } => format!("the source answers and offers {newest}"),
            Pointer { name, version } if zh => format!("{name} 指向 {version}，内容完整"),
            Pointer { name, version } => format!("{name} is {version}, and whole"),
            NoPointer { name } if zh => format!("没有 {name}"),
            NoPointer { name } => format!("there is no {name}"),
            Edited { name, version, paths, diff } if zh => {
                format!("{name}（{version}）中有改动的文件：{paths}\n{diff}")
            }
            Edited { name, version, paths, diff } => {
                format!("files of {name} ({version}) were edited: {paths}\n{diff}")
            }
            NothingUnfinished if zh => "没有未完成的变更".into(),
            NothingUnfinished => "no change is unfinished".into(),
            Unfinished { id, state } if zh => format!("变更 {id} 未完成（{state}）"),
            Unfinished { id, state } => format!("the change {id} is unfinished ({state})"),
            Reserve if zh => "已为回滚预留磁盘空间".into(),
            Reserve => "room is kept aside for the undo".into(),
            ReserveMissing { path } if zh => format!("没有为回滚预留的磁盘空间（{path}）"),
            ReserveMissing { path } => format!("no room is kept aside for the undo ({path})"),
            StateRebuilt if zh => "状态数据库已重建，尚未核对应用".into(),
            StateRebuilt => "state.db was rebuilt, and the stack has not been looked at since".into(),
            BackupsAgree if zh => "备份记录与文件一致".into(),
            BackupsAgree => "backup records and files agree".into(),
            BackupProblem { what } if zh => format!("备份记录与文件不一致：{what}"),
            BackupProblem { what } => format!("backup records and files do not agree: {what}"),
        }
    }

    /// How to mend it; empty where there is nothing to mend.
    pub fn help(&self, lang: Lang) -> String {
        use Look::*;
        let words = match self {
            Disk { .. } => [
                "Free space, for example with 'client backup prune'.",
                "请释放空间，例如 'client backup prune'。",
            ],
            Clock { .. } => ["Set the clock of this machine.", "请校准本机时钟。"],
            NoPointer { .. } => {
                ["Run 'client init' if nothing is installed here.", "如尚未安装，请运行 'client init'。"]
            }
            Edited { .. } => [
                "Keep them as they are: the next upgrade sets them aside. Or run 'client upgrade --force-full'.",
                "可保持不变，下次升级会另存；或运行 'client upgrade --force-full'。",
            ],
            Unfinished { .. } => {
                ["Run 'client upgrade': it finishes or undoes it.", "请运行 'client upgrade' 继续或撤销。"]
            }
            ReserveMissing { .. } => [
                "Free space; the next command that changes something makes it.",
                "请释放空间；下一个执行更改的命令会创建它。",
            ],
            StateRebuilt => ["Run 'client upgrade'.", "请运行 'client upgrade'。"],
            BackupProblem { .. } => ["Run 'client backup prune'.", "请运行 'client backup prune'。"],
            _ => ["", ""],
        };
        let [english, chinese] = words;
        if lang == Lang::Zh { chinese.into() } else { english.into() }
    }
}
