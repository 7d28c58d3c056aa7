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
    PointerGone { version: String },
    PointerAstray { target: String, version: String },
    PointerElsewhere { named: String, version: String },
    Uncompiled,
    ShippedAgain { files: String, kept: String },
    NothingUnfinished,
    Unfinished { id: String, state: &'static str },
    Reserve,
    ReserveMissing { path: String },
    StateRebuilt,
    BackupsAgree,
    BackupProblem { what: String },
    BackupUnknown { path: String },
    BackupGone { id: String, file: String },
    BackupUnarchived { id: String },
    Held,
    LetGo,
    ContainersWell { version: String },
    StackDown { current: String },
    ContainerMissing { service: String },
    ContainerStopped { name: String, state: &'static str, project: String, service: String },
    ContainerForeign { name: String, version: String },
    ContainerUnhealthy { name: String },
    OfChange,
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
            PointerGone { version } if zh => format!("没有 current；正在运行的是 {version}"),
            PointerGone { version } => format!("there is no current, and {version} runs"),
            PointerAstray { target, version } if zh => {
                format!("current 指向 {target}；正在运行的是 {version}")
            }
            PointerAstray { target, version } => {
                format!("current points to {target}, which is no release here, and {version} runs")
            }
            PointerElsewhere { named, version } if zh => {
                format!("current 指向 {named}；正在运行的是 {version}")
            }
            PointerElsewhere { named, version } => format!("current points to {named}, and {version} runs"),
            Uncompiled if zh => "current 中的 Compose 文件无法解析".into(),
            Uncompiled => "the Compose files in current cannot be compiled".into(),
            ShippedAgain { files, kept } if zh => {
                format!("current 中的 {files} 已恢复为发布时的内容；修改过的文件保留在 {kept}")
            }
            ShippedAgain { files, kept } => {
                format!("{files} in current is as it was shipped again; the edited one is kept in {kept}")
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
            BackupUnknown { path } if zh => format!("文件没有备份记录：{path}"),
            BackupUnknown { path } => format!("no record knows of {path}"),
            BackupGone { file, .. } if zh => format!("备份文件不存在：{file}"),
            BackupGone { file, .. } => format!("the archive {file} is gone"),
            BackupUnarchived { id } if zh => format!("备份 {id} 只有数据副本，归档尚未写入"),
            BackupUnarchived { id } => {
                format!("of backup {id} there is only the copy of the data; its archive is not written yet")
            }
            Held if zh => "中断的备份留下了已暂停或已停止的容器".into(),
            Held => "a backup that did not end left containers paused or stopped".into(),
            LetGo if zh => "备份暂停或停止的容器已恢复运行".into(),
            LetGo => "what a backup had left paused or stopped goes on again".into(),
            ContainersWell { version } if zh => format!("{version} 的所有容器都在运行"),
            ContainersWell { version } => format!("all containers of {version} are there and run"),
            StackDown { .. } if zh => "应用没有任何容器".into(),
            StackDown { .. } => "the stack has no containers: somebody took it down".into(),
            ContainerMissing { service } if zh => format!("服务 {service} 没有容器"),
            ContainerMissing { service } => format!("the service {service} has no container"),
            ContainerStopped { name, state, .. } if zh => format!("{name} 未运行（{state}）"),
            ContainerStopped { name, state, .. } => format!("{name} does not run ({state})"),
            ContainerForeign { name, version } if zh => format!("{name} 使用的不是 {version} 的镜像"),
            ContainerForeign { name, version } => format!("{name} was not made from the image of {version}"),
            OfChange if zh => "容器属于尚未结束的变更".into(),
            OfChange => "the containers are those of a change that has not ended".into(),
            ContainerUnhealthy { name } if zh => format!("{name} 不健康"),
            ContainerUnhealthy { name } => format!("{name} is not healthy"),
        }
    }

    /// How to mend it; empty where there is nothing to mend.
    pub fn help(&self, lang: Lang) -> String {
        use Look::*;
        let zh = lang == Lang::Zh;
        match self {
            ContainerStopped { project, service, .. } if zh => {
                return format!("请运行 'docker compose -p {project} start {service}'。");
            }
            ContainerStopped { project, service, .. } => {
                return format!("Run 'docker compose -p {project} start {service}'.");
            }
            StackDown { current } if zh => {
                return format!("请运行 'docker compose --project-directory {current} up -d'。");
            }
            StackDown { current } => {
                return format!("Run 'docker compose --project-directory {current} up -d'.");
            }
            ContainerForeign { version, .. } if zh => {
                return format!("请运行 'client upgrade --target {version} --force-full'。");
            }
            ContainerForeign { version, .. } => {
                return format!("Run 'client upgrade --target {version} --force-full'.");
            }
            BackupUnknown { path } if zh => {
                return format!("请运行 'client backup import {path}' 收录，或将其移走。");
            }
            BackupUnknown { path } => {
                return format!("Take it in with 'client backup import {path}', or move it away.");
            }
            BackupGone { id, .. } if zh => {
                return format!(
                    "请放回该文件，用 'client backup import' 导入副本，或运行 'client backup delete {id}'。"
                );
            }
            BackupGone { id, .. } => {
                return format!(
                    "Bring it back, take in a copy with 'client backup import', or run 'client backup delete {id}'."
                );
            }
            ContainerUnhealthy { name } if zh => return format!("请用 'docker logs {name}' 查看日志。"),
            ContainerUnhealthy { name } => return format!("See its log with 'docker logs {name}'."),
            _ => {}
        }
        let words = match self {
            Disk { .. } => [
                "Free space, for example with 'client backup prune'.",
                "请释放空间，例如 'client backup prune'。",
            ],
            Clock { .. } => ["Set the clock of this machine.", "请校准本机时钟。"],
            NoPointer { .. } => {
                ["Run 'client init' if nothing is installed here.", "如尚未安装，请运行 'client init'。"]
            }
            PointerGone { .. } | PointerAstray { .. } => [
                "Run 'client doctor --fix', which points it at what runs.",
                "请运行 'client doctor --fix'，使其指向正在运行的版本。",
            ],
            PointerElsewhere { .. } => [
                "Run 'client upgrade' to bring that up, or 'client rollback --to' with the version that runs to undo it.",
                "请运行 'client upgrade' 启用该版本；或运行 'client rollback --to' 加正在运行的版本以撤销。",
            ],
            Uncompiled => [
                "Mend the file, or run 'client doctor --fix': it keeps it aside and puts the shipped form back.",
                "请修正该文件；或运行 'client doctor --fix'：另存后恢复发布时的内容。",
            ],
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
            ContainerMissing { .. } => {
                ["Run 'client upgrade': it makes it again.", "请运行 'client upgrade'，它会重新创建该容器。"]
            }
            OfChange => [
                "Start, stop and remove nothing by hand: the change that has not ended decides about it.",
                "请勿手动启动、停止或删除：由尚未结束的变更决定。",
            ],
            Held => ["Run 'client doctor --fix'.", "请运行 'client doctor --fix'。"],
            BackupUnarchived { .. } => [
                "Free space; then 'client backup prune', or the next command that changes something, writes it.",
                "请释放空间；之后运行 'client backup prune'，或由下一个执行更改的命令写入。",
            ],
            BackupProblem { .. } => ["Run 'client backup prune'.", "请运行 'client backup prune'。"],
            _ => ["", ""],
        };
        let [english, chinese] = words;
        if zh { chinese.into() } else { english.into() }
    }
}
