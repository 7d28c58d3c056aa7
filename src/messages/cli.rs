//! The words of the command line: labels, headings and sentences of its summaries, in both languages.

mod terms;

use super::Lang;

pub use terms::term;

macro_rules! words {
    ($($variant:ident $({ $($field:ident),+ })? $en:literal $zh:literal;)*) => {
        /// Something the command line says; the words are in the catalogue in this file.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs)] // the English words of each are beside its name
        pub enum Words<'a> {
            $($variant $({ $($field: &'a str),+ })?,)*
        }

        impl Words<'_> {
            /// The words in `lang`.
            pub fn text(self, lang: Lang) -> String {
                match (self, lang) {
                    $(
                        (Self::$variant { $($($field),+)? }, Lang::En) => format!($en),
                        (Self::$variant { $($($field),+)? }, Lang::Zh) => format!($zh),
                    )*
                }
            }
        }
    };
}

words! {
    // Labels in front of a value.
    Took "took" "耗时";
    Downloaded "downloaded" "已下载";
    Backup "backup" "备份";
    Downtime "downtime" "停机时间";
    Frozen "frozen for the backup" "备份时冻结";
    Project "project" "项目";
    State "state" "状态";
    Current "current" "当前版本";
    Previous "previous" "上一版本";
    Factory "factory" "出厂版本";
    Quarantined "quarantined" "已隔离";
    LastChange "last change" "上次变更";
    Strategy "strategy" "策略";
    Released "released" "发布日期";
    Notes "notes" "发布说明";
    ToFetch "to fetch" "需下载";
    DiskNeeded "disk needed" "所需磁盘";
    Change "change" "变更";
    Kind "kind" "类型";
    Versions "versions" "版本";
    StartedAt "started" "开始";
    EndedAt "ended" "结束";
    Size "size" "大小";
    Files "files" "文件数";
    Hash "hash" "哈希";
    File "file" "文件";
    MadeOf "made of" "来自版本";
    MadeBefore "made before" "升级目标";
    Name "name" "名称";
    Version "version" "版本";
    Architecture "architecture" "架构";
    ComposeFiles "Compose files" "Compose 文件";
    Persists "persists" "保留路径";
    Bundle "bundle" "安装包";
    Patch "patch" "补丁";
    Deltas "deltas" "层差分";
    Written "written" "已写入";
    Newest "newest" "最新版本";

    // Headings of tables.
    Service "SERVICE" "服务";
    ServiceState "STATE" "状态";
    Health "HEALTH" "健康";
    Image "IMAGE" "镜像";
    Release "RELEASE" "版本";
    Container "CONTAINER" "容器";
    Action "ACTION" "操作";
    Why "WHY" "原因";
    Id "ID" "编号";
    When "WHEN" "时间";
    What "WHAT" "类型";
    From "FROM" "自";
    To "TO" "至";
    Result "RESULT" "结果";
    Duration "DURATION" "耗时";
    StepHeading "STEP" "步骤";
    Mark "MARK" "标记";
    Detail "DETAIL" "详情";
    SizeHeading "SIZE" "大小";
    FilesHeading "FILES" "文件数";
    Path "PATH" "路径";
    Layers "LAYERS" "层数";

    // Sentences.
    None "none" "无";
    Unknown "unknown" "未知";
    UpToDate { version } "{version} is installed and up to date" "当前版本 {version} 已是最新";
    InstalledNewer { version } "nothing to do: the installed {version} is newer than the source's"
        "无需操作：已安装的 {version} 比更新源的版本新";
    FetchedAhead { version } "{version} is here and verified; 'client upgrade' installs it" "{version} 已下载并通过校验；运行 'client upgrade' 即可安装";
    NothingToDo "nothing to do" "无需操作";
    InstalledVersion { version } "{version} is installed" "已安装 {version}";
    Changed { from, to } "the stack went from {from} to {to}" "应用已从 {from} 变更为 {to}";
    InPlace { version } "{version} is in place" "{version} 已就位";
    DataRestored { version } "the data is restored, and {version} runs" "数据已恢复，{version} 正在运行";
    RestoreUndone { version } "the data could not be restored; that of before is back, and {version} runs"
        "数据未能恢复；已回到之前的数据，{version} 正在运行";
    FailedUnchanged "it failed; nothing was changed" "操作失败；未做任何更改";
    FailedTo { to } "the change to {to} failed; nothing was changed" "变更到 {to} 失败；未做任何更改";
    FailedBack { to, back } "the change to {to} failed; the stack is back on {back}"
        "变更到 {to} 失败；应用已回到 {back}";
    FailedFactory { to, back } "the change to {to} failed; the stack is on the factory release {back}"
        "变更到 {to} 失败；应用现为出厂版本 {back}";
    FailedStuck { to } "the change to {to} failed and could not be undone; a person is needed"
        "变更到 {to} 失败且无法撤销；需要人工处理";
    FailedInterrupted "interrupted; the state is safe and the next run continues"
        "已中断；状态是安全的，下次运行会继续";
    DownloadedOf { part, whole } "{part} of {whole}" "{part}（共 {whole}）";
    UpgradeAvailable { from, to } "an upgrade is available: {from} → {to}" "有可用升级：{from} → {to}";
    StrategyWhy { strategy, reason } "{strategy} ({reason})" "{strategy}（{reason}）";
    PlanHeading { from, to } "plan: {from} → {to}" "计划：{from} → {to}";
    PlanNothing { version } "nothing to do: {version} stays as it is" "无需操作：{version} 保持不变";
    QuarantinedWhy { version, reason, at } "{version}: {reason} (since {at})" "{version}：{reason}（始于 {at}）";
    Steps "steps" "步骤";
    EditsByHand "edited by hand, will be set aside in shared/edits" "手工修改的文件，将另存到 shared/edits";
    Services "services" "服务";
    ServicesLater "what happens to each service is known once the package is here"
        "下载安装包后才能确定每个服务的操作";
    ServicesTouched { changed, all } "{changed} of {all} are touched, the others keep running"
        "{all} 个中有 {changed} 个会变更，其余继续运行";
    ServicesAll "all services are touched" "所有服务都会变更";
    Effect "effect" "预期影响";
    EffectNone "no service is touched" "不影响任何服务";
    NoHistory "nothing was installed here yet" "尚无安装记录";
    NoBackups "there are no backups" "没有备份";
    Journal "journal" "日志";
    NoServices "the release has no services" "该版本没有服务";
    ImageDiffers "not the expected image" "与预期镜像不符";
    DoctorWell "everything is in order" "一切正常";
    DoctorFound { failed, warnings } "{failed} to mend, {warnings} to know" "{failed} 项需修复，{warnings} 项需留意";
    BackupMade { id } "backup {id} is complete" "备份创建成功 {id}";
    BackupIntact { id } "backup {id} is intact" "备份 {id} 完好";
    BackupExtracted { id, to } "backup {id} is unpacked into {to}" "备份 {id} 已解压到 {to}";
    BackupRestored { id } "the data of backup {id} is restored" "已恢复备份 {id} 的数据";
    BackupDeleted { id } "backup {id} is deleted" "已删除备份 {id}";
    BackupsCopied { count, to } "backups copied to {to}: {count}" "已复制到 {to} 的备份：{count} 个";
    BackupImported { id } "backup {id} is taken in" "已导入备份 {id}";
    BackupsPruned { count } "backups deleted: {count}" "已删除备份：{count} 个";
    ReleaseBuilt { version } "release {version} is packed" "版本 {version} 已打包";
    ReleasePublished { version, source } "release {version} is in {source}" "版本 {version} 已发布到 {source}";
    NotPublished { files } "not published, because only the release that was built last is: {files}; build each again and publish it right after"
        "未发布（只发布最后打包的版本）：{files}；请逐个重新打包并立即发布";
    Contents "contents" "内容";
    Images "images" "镜像";

    // Talk.
    Help "help" "帮助";
    WarningHead "warning" "警告";
    ErrorHead "error" "错误";
    Failed "failed" "失败";
    Left { time } "{time} left" "剩余 {time}";
    AskUpgrade "Upgrade now?" "现在升级吗？";
    AskRollback "Roll back now?" "现在回滚吗？";
    AskRestore { id } "Restore backup {id}? The data that is there now is replaced." "恢复备份 {id} 吗？现有数据会被替换。";
    AskDelete { id } "Delete backup {id} for good?" "永久删除备份 {id} 吗？";
    RollbackHeading { from, to } "roll back: {from} → {to}" "回滚：{from} → {to}";
    Data "data" "数据";
    DataFrom { id, at } "restored from backup {id} of {at}; what was written since will not be in it"
        "从 {at} 的备份 {id} 恢复；此后写入的数据不在其中";
    SafetyBackup "the present data is backed up first" "会先备份现有数据";
    ImagesLabel "images" "镜像";
    ImagesAndBundle "in the engine; the bundle is here too" "引擎中已有；本机也有安装包";
    ImagesOnly "in the engine; no bundle is here" "引擎中已有；本机没有安装包";
    ImagesFromBundle { images } "loaded from the bundle here: {images}" "从本机安装包加载：{images}";
    ImagesFetched { images } "not here; taken from another bundle here, or fetched: {images}"
        "本机没有；将从其他本机安装包加载或重新下载：{images}";
    ServicesAfterUnfinished "known when the interrupted change has been finished or undone, which comes first"
        "先完成或撤销中断的变更，然后才能确定每个服务的操作";
    DataKeep "left as it is" "保持不变";
    Stopping { signal } "{signal}: stopping at a safe point; press Ctrl-C again to stop at once"
        "{signal}：正在安全停止；再按一次 Ctrl-C 立即停止";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_filled_in_in_both_languages() {
        let words = Words::Changed { from: "1.0.0", to: "1.1.0" };
        assert_eq!(words.text(Lang::En), "the stack went from 1.0.0 to 1.1.0");
        assert_eq!(words.text(Lang::Zh), "应用已从 1.0.0 变更为 1.1.0");
        assert_eq!(Words::Took.text(Lang::Zh), "耗时");
    }
}
