//! The words for people that are not errors, in English and simplified Chinese.
//!
//! Each thing that can be said is a variant of [`Say`]; [`Say::text`] is the only place with its words.
//! The Chinese wording of the upgrade's main events is fixed by the requirements.

pub mod causes;
pub mod cli;
mod data;
pub mod doctor;
pub mod ways;

pub use data::DataNote;

/// The language of messages to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lang {
    /// English.
    #[default]
    En,
    /// Simplified Chinese.
    Zh,
}

impl Lang {
    /// From a `--lang` value or a POSIX locale name (`zh_CN.UTF-8`); anything not Chinese is English.
    pub fn from_locale(name: &str) -> Self {
        if name.to_ascii_lowercase().starts_with("zh") { Self::Zh } else { Self::En }
    }
}

/// Something the product says to a person.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // the words are in `text`
pub enum Say {
    StrategyStarted,
    StrategyFull { reason: String },
    StrategyPatch { from: String },
    UpToDate { version: String },
    DownloadStarted { name: String },
    DownloadResumed { name: String, at: u64 },
    DownloadRetry { name: String, attempt: u32, wait_ms: u64, cause: String },
    DownloadFinished { name: String },
    DownloadCached { name: String },
    FetchedAhead { version: String },
    MetadataSaved,
    BackupStarted,
    DataCopying,
    ArchiveWriting,
    BackupTaken { id: String },
    CopyStarted { id: String },
    CopyCompared { id: String },
    DumpStarted { service: String },
    Data(DataNote),
    BackupFinished { id: String },
    RestoreStarted { id: String },
    Adopting { folder: String },
    Adopted { version: String, count: usize },
    GoingBack { to: String },
    UnpackStarted { version: String },
    UnpackFinished { version: String },
    ImagesStarted { count: usize },
    ImageLoading { image: String },
    LoadingWhole { cause: String },
    FetchingLacking { bytes: u64, reused: u64 },
    FetchingWhole { cause: String },
    FetchingLayers { cause: String },
    ImageParsed { image: String },
    ImagesFinished,
    ServiceCreated { service: String },
    ServiceStopping { service: String },
    ServiceStarting { service: String },
    ServiceSwapped { service: String, ms: u64 },
    VerifyStarted,
    VerifyFinished,
    CleanupStarted,
    CleanupFinished,
    Completed { from: String, to: String },
    Continuing { version: String },
    RollingBack { to: String, cause: String },
    RolledBack { to: String },
    EnvKeyAdded { key: String },
    EnvKeyRemoved { key: String },
    ConfigKept { path: String },
    ConfigMerged { path: String },
    ConfigSetAside { path: String, kept: String },
    ToFactory { to: String, cause: String },
    NextCommands { root: String, project: String, backup: Option<String>, versions: Vec<String> },
    StackDown { current: String },
    BroughtBack { services: String },
    AtFactory { factory: String, before: String, cause: String },
    ContainerGone { service: String },
    Superseded { id: String },
    Repairing { version: String, cause: String },
    CompiledAsShipped { paths: String, cause: String },
    PointerWrong { target: Option<String>, version: Option<String> },
    PointerMissing { version: String },
    PointerAstray { target: String, version: String },
    PointerRefused { named: String, version: String, cause: String },
    PointerPutBack { named: String, version: String },
    SoakFailed { version: String, to: String, cause: String },
    SoakPassed { version: String },
    SoakStays { version: String, to: String, cause: String, late: bool },
    DataPutBack { backup: String, kept: Option<String> },
    DataPutAside { backup: String, kept: String, of: String },
    EngineAway { text: String },
    EngineBack { version: String },
    StateRebuilt { cause: String, kept: String },
    StateHistoryLost,
    StateReleaseUnreadable { folder: String },
    StateBundleUnknown { version: String },
    StateBackupUnreadable { file: String },
    StateChangeFound { from: String, to: String },
    NotRunningBefore { services: String },
    Way(ways::Way),
    Edited { version: String, path: String, diff: String },
    Warning { text: String },
}

impl Say {
    /// The sentence in `lang`.
    pub fn text(&self, lang: Lang) -> String {
        match lang {
            Lang::En => self.english(),
            Lang::Zh => self.chinese(),
        }
    }

    fn english(&self) -> String {
        use Say::*;
        match self {
            StrategyStarted => "choosing the upgrade strategy".into(),
            StrategyFull { reason } => format!("full upgrade ({reason})"),
            StrategyPatch { from } => format!("patch upgrade from {from}"),
            UpToDate { version } => format!("{version} is installed and up to date"),
            DownloadStarted { name } => format!("downloading {name}"),
            DownloadResumed { name, at } => format!("continuing the download of {name} at byte {at}"),
            DownloadRetry { name, attempt, wait_ms, cause } => {
                format!("download of {name}: attempt {attempt} failed ({cause}); next in {wait_ms} ms")
            }
            DownloadFinished { name } => format!("downloaded and verified {name}"),
            DownloadCached { name } => format!("{name} is already here and verified"),
            FetchedAhead { version } => {
                format!("{version} is here and verified; 'client upgrade' installs it")
            }
            MetadataSaved => "download metadata saved".into(),
            BackupStarted => "making a backup".into(),
            DataCopying => "copying the data".into(),
            ArchiveWriting => "writing the archive".into(),
            CopyStarted { id } => format!("copying backup {id}"),
            CopyCompared { id } => format!("comparing backup {id} with the copy that is there already"),
            DumpStarted { service } => format!("{service} writes out its data"),
            Data(note) => note.text(Lang::En),
            BackupTaken { id } => format!("the data of backup {id} is copied; its archive is being written"),
            BackupFinished { id } => format!("backup {id} is complete"),
            RestoreStarted { id } => format!("restoring the data from backup {id}"),
            Adopting { folder } => format!("taking over the stack in {folder}"),
            Adopted { version, count } => {
                format!("{count} running containers were taken over as {version}; nothing was restarted")
            }
            GoingBack { to } => format!("going back to {to}"),
            UnpackStarted { version } => format!("unpacking {version}"),
            UnpackFinished { version } => format!("{version} is unpacked"),
            ImagesStarted { count } => format!("loading images ({count} missing)"),
            ImageLoading { image } => format!("loading {image}"),
            FetchingLacking { bytes, reused } => {
                format!("{bytes} bytes of the package are fetched; {reused} are in the engine already")
            }
            FetchingWhole { cause } => format!("the whole package is fetched: {cause}"),
            FetchingLayers { cause } => format!("layers are fetched that were to be made here: {cause}"),
            LoadingWhole { cause } => {
                format!("the engine did not take the images without the layers it has, so all layers are loaded: {cause}")
            }
            ImageParsed { image } => format!("loaded {image}"),
            ImagesFinished => "all images are there".into(),
            ServiceCreated { service } => format!("{service}: new container created"),
            ServiceStopping { service } => format!("{service}: stopping"),
            ServiceStarting { service } => format!("{service}: starting"),
            ServiceSwapped { service, ms } => format!("{service}: new version is up after {ms} ms"),
            VerifyStarted => "verifying the services".into(),
            VerifyFinished => "all services are verified".into(),
            CleanupStarted => "cleaning up".into(),
            CleanupFinished => "cleaned up".into(),
            Completed { from, to } if from.is_empty() => format!("{to} is installed"),
            Completed { from, to } if from == to => format!("{to} is in place"),
            Completed { from, to } => format!("went from {from} to {to}"),
            Continuing { version } => format!("continuing the interrupted change to {version}"),
            RollingBack { to, cause } => format!("going back to {to}: {cause}"),
            RolledBack { to } => format!("the stack is back on {to}"),
            EnvKeyAdded { key } => format!(".env: the new setting {key} was added"),
            EnvKeyRemoved { key } => {
                format!(".env: the release no longer has the setting {key}; yours is kept")
            }
            ConfigKept { path } => format!("{path}: your edits are kept"),
            ConfigMerged { path } => format!("{path}: your edits were merged with the release's"),
            ConfigSetAside { path, kept } => {
                format!("{path}: your edits do not fit the release's; they are kept in {kept}")
            }
            ToFactory { to, cause } => {
                format!(
                    "the version before could not be brought back ({cause}); installing the factory release {to}"
                )
            }
            NextCommands { root, project, backup, versions } => {
                let restore = match backup {
                    Some(id) => format!(
                        "\n  client --root {root} backup verify {id}    # the data before the upgrade"
                    ),
                    None => String::new(),
                };
                let back: String = versions
                    .iter()
                    .map(|version| {
                        format!("\n  client --root {root} rollback --to {version}    # goes on from here")
                    })
                    .collect();
                format!(
                    "What can run is left running. Next:\n  client --root {root} doctor --fix\n  docker compose -p {project} ps -a\n  docker compose -p {project} logs --tail 50\n  client --root {root} backup create    # the data as it is now{restore}\n  client --root {root} upgrade    # tries again{back}"
                )
            }
            StackDown { current } => format!(
                "the stack has no containers: somebody took it down. 'docker compose --project-directory {current} up -d' brings it up"
            ),
            BroughtBack { services } => {
                format!("the container of {services} was removed by somebody and was made again")
            }
            AtFactory { factory, before, cause } if factory == before => {
                format!("{factory}, the factory release, did not come up again ({cause}) and was installed anew")
            }
            AtFactory { factory, before, cause } => format!(
                "the stack is on the factory release {factory}, because {before}, the version before, did not come up again ({cause})"
            ),
            ContainerGone { service } => {
                format!("{service}: its container was removed by somebody while the change was prepared")
            }
            Superseded { id } => format!("change {id} could not be finished and is left as it is"),
            CompiledAsShipped { paths, cause } => format!(
                "{paths} cannot be compiled ({cause}); it is read as it was shipped. Mend it, or run 'client doctor --fix', \
                 which keeps it aside and puts the shipped form back"
            ),
            PointerWrong { target, version } => {
                let what = target.as_ref().map_or("'current' is gone".into(), |to| format!("'current' points to {to}"));
                match version {
                    Some(version) => format!("{what}, and {version} runs; 'client doctor --fix' points it there"),
                    None => format!("{what}; point it at the release that runs, such as releases/1.0.0"),
                }
            }
            PointerMissing { version } => {
                format!("'current' was gone; it points to {version} again, which is what runs")
            }
            PointerAstray { target, version } => {
                format!("'current' pointed to {target}; it points to {version} again, which is what runs")
            }
            PointerRefused { named, version, cause } => format!(
                "'current' was pointed to {named}, which is in quarantine ({cause}); it points to {version} \
                 again, which is what runs. 'client upgrade --target {named} --force' tries {named} all the same"
            ),
            PointerPutBack { named, version } => {
                format!("'current' was pointed to {named}; it points to {version} again, which is what runs")
            }
            Repairing { version, cause } => format!("making what runs agree with {version}: {cause}"),
            SoakFailed { version, to, cause } => {
                format!("{version} failed in its probation, going back to {to}: {cause}")
            }
            SoakPassed { version } => format!("{version} has passed its probation"),
            SoakStays { version, to, cause, late: true } => format!(
                "{version} failed in its probation ({cause}), but that is over, and going back to {to} would put back the data of before; 'client rollback --to {to}' does it all the same"
            ),
            SoakStays { version, to, cause, late: false } => format!(
                "{version} failed in its probation ({cause}), but stays: the backup of the data that {to} can read is gone"
            ),
            DataPutBack { backup, kept: Some(kept) } => format!(
                "the data is that of backup {backup} again; what was written since is in backup {kept} ('client backup restore {kept}' brings it back)"
            ),
            DataPutAside { backup, kept, of } => format!(
                "the data is that of backup {backup} again; what was written since is in backup {kept}. {of} wrote it, and no older version may be able to read it: get {of} to run first ('client upgrade --target {of}', with --force where it is in quarantine), then restore that backup"
            ),
            DataPutBack { backup, kept: None } => format!("the data is that of backup {backup} again"),
            EngineAway { text } => format!("waiting for the engine to come back: {text}"),
            EngineBack { version } => format!("the engine is back (version {version})"),
            StateRebuilt { cause, kept } if kept.is_empty() => {
                format!("the state database was lost ({cause}) and was rebuilt from what is there")
            }
            StateRebuilt { cause, kept } => format!(
                "the state database was damaged ({cause}) and was rebuilt from what is there; the damaged one is {kept}"
            ),
            StateHistoryLost => {
                "history, quarantine and reports that were not delivered are lost with the former state database"
                    .into()
            }
            StateReleaseUnreadable { folder } => format!("{folder} does not say which release it is"),
            StateBundleUnknown { version } => {
                format!(
                    "the bundle {version} came from was not found; its images can only come from the engine"
                )
            }
            StateBackupUnreadable { file } => format!("the backup {file} cannot be read and has no record"),
            StateChangeFound { from, to } => {
                format!("the change from {from} to {to} that was under way is known from its files in work/")
            }
            NotRunningBefore { services } => {
                format!("{services}: did not run before this change, and does not run now")
            }
            Way(way) => way.text(Lang::En),
            Edited { version, path, diff } => format!("{path} of {version} was edited by hand\n{diff}"),
            Warning { text } => text.clone(),
        }
    }

    fn chinese(&self) -> String {
        use Say::*;
        match self {
            StrategyStarted => "🔍 开始升级策略决策".into(),
            StrategyFull { reason } => format!("📦 选择全量升级策略（{reason}）"),
            StrategyPatch { from } => format!("🩹 选择增量升级策略（自 {from}）"),
            UpToDate { version } => format!("当前版本 {version} 已是最新"),
            DownloadStarted { name } => format!("🌐 开始下载文件 {name}"),
            DownloadResumed { name, at } => format!("从第 {at} 字节继续下载 {name}"),
            DownloadRetry { name, attempt, wait_ms, cause } => {
                format!("下载 {name} 第 {attempt} 次失败（{cause}），{wait_ms} 毫秒后重试")
            }
            DownloadFinished { name } => format!("🎉 下载完成 {name}"),
            DownloadCached { name } => format!("{name} 已存在且校验通过"),
            FetchedAhead { version } => format!("{version} 已下载并通过校验；运行 'client upgrade' 即可安装"),
            MetadataSaved => "💾 已保存下载元数据".into(),
            BackupStarted => "开始创建备份".into(),
            DataCopying => "正在复制数据".into(),
            ArchiveWriting => "正在写入备份归档".into(),
            CopyStarted { id } => format!("正在复制备份 {id}"),
            CopyCompared { id } => format!("正在比对备份 {id} 与已有的副本"),
            DumpStarted { service } => format!("{service} 正在导出数据"),
            Data(note) => note.text(Lang::Zh),
            BackupTaken { id } => format!("备份 {id} 的数据已复制，正在写入归档"),
            BackupFinished { id } => format!("备份创建成功 {id}"),
            RestoreStarted { id } => format!("正在从备份 {id} 恢复数据"),
            Adopting { folder } => format!("正在接管 {folder} 中的应用"),
            Adopted { version, count } => {
                format!("已接管 {count} 个运行中的容器，版本 {version}；没有重启任何容器")
            }
            GoingBack { to } => format!("正在回退到 {to}"),
            UnpackStarted { version } => format!("开始解压 {version}"),
            UnpackFinished { version } => format!("{version} 解压完成"),
            ImagesStarted { count } => format!("执行docker load命令（缺少 {count} 个镜像）"),
            ImageLoading { image } => format!("正在加载镜像 {image}"),
            FetchingLacking { bytes, reused } => {
                format!("下载安装包中的 {bytes} 字节；其余 {reused} 字节引擎中已有")
            }
            FetchingWhole { cause } => format!("改为下载整个安装包：{cause}"),
            FetchingLayers { cause } => format!("改为下载原本要在本机生成的镜像层：{cause}"),
            LoadingWhole { cause } => format!("引擎未接受省略了已有层的镜像，现在加载全部层：{cause}"),
            ImageParsed { image } => format!("成功解析加载的镜像名称 {image}"),
            ImagesFinished => "所有镜像已就绪".into(),
            ServiceCreated { service } => format!("{service}：已创建新容器"),
            ServiceStopping { service } => format!("{service}：正在停止"),
            ServiceStarting { service } => format!("{service}：正在启动"),
            ServiceSwapped { service, ms } => format!("{service}：新版本已运行，耗时 {ms} 毫秒"),
            VerifyStarted => "开始验证服务".into(),
            VerifyFinished => "所有服务验证通过".into(),
            CleanupStarted => "开始清理".into(),
            CleanupFinished => "清理完成".into(),
            Completed { from, to } if from.is_empty() => format!("安装完成：{to}"),
            Completed { from, to } if from == to => format!("{to} 已就绪"),
            Completed { from, to } => format!("升级完成：{from} → {to}"),
            Continuing { version } => format!("继续被中断的升级：{version}"),
            RollingBack { to, cause } => format!("正在回滚到 {to}：{cause}"),
            RolledBack { to } => format!("已回滚到 {to}"),
            EnvKeyAdded { key } => format!(".env：已添加新设置 {key}"),
            EnvKeyRemoved { key } => format!(".env：新版本不再包含设置 {key}，已保留您的值"),
            ConfigKept { path } => format!("{path}：已保留您的修改"),
            ConfigMerged { path } => format!("{path}：您的修改已与新版本合并"),
            ConfigSetAside { path, kept } => format!("{path}：您的修改与新版本冲突，已保存到 {kept}"),
            ToFactory { to, cause } => format!("无法恢复上一版本（{cause}），正在安装出厂版本 {to}"),
            NextCommands { root, project, backup, versions } => {
                let restore = match backup {
                    Some(id) => format!("\n  client --root {root} backup verify {id}    # 升级前的数据"),
                    None => String::new(),
                };
                let back: String = versions
                    .iter()
                    .map(|version| format!("\n  client --root {root} rollback --to {version}    # 由此继续"))
                    .collect();
                format!(
                    "能运行的服务保持运行。下一步：\n  client --root {root} doctor --fix\n  docker compose -p {project} ps -a\n  docker compose -p {project} logs --tail 50\n  client --root {root} backup create    # 当前的数据{restore}\n  client --root {root} upgrade    # 重试{back}"
                )
            }
            StackDown { current } => format!(
                "应用没有任何容器：已被停用。可用 'docker compose --project-directory {current} up -d' 启动"
            ),
            BroughtBack { services } => format!("{services} 的容器曾被他人删除，已重新创建"),
            AtFactory { factory, before, cause } if factory == before => {
                format!("出厂版本 {factory} 未能恢复运行（{cause}），已重新安装")
            }
            AtFactory { factory, before, cause } => {
                format!("应用现为出厂版本 {factory}，因为上一版本 {before} 未能恢复运行（{cause}）")
            }
            ContainerGone { service } => format!("{service}：其容器在准备期间被他人删除"),
            Superseded { id } => format!("变更 {id} 无法完成，保持现状"),
            CompiledAsShipped { paths, cause } => format!(
                "{paths} 无法解析（{cause}），已按发布时的内容读取。请修正，或运行 'client doctor --fix'（另存后恢复发布时的内容）"
            ),
            PointerWrong { target, version } => {
                let what =
                    target.as_ref().map_or("current 不存在".into(), |to| format!("current 指向 {to}"));
                match version {
                    Some(version) => {
                        format!("{what}；正在运行的是 {version}，请运行 'client doctor --fix' 修复")
                    }
                    None => format!("{what}；请使其指向正在运行的版本，例如 releases/1.0.0"),
                }
            }
            PointerMissing { version } => format!("current 不存在，已重新指向正在运行的 {version}"),
            PointerAstray { target, version } => {
                format!("current 指向 {target}，已重新指向正在运行的 {version}")
            }
            PointerRefused { named, version, cause } => format!(
                "current 被指向 {named}，该版本已被隔离（{cause}）；已重新指向正在运行的 {version}。\
                 如仍要使用，请运行 'client upgrade --target {named} --force'"
            ),
            PointerPutBack { named, version } => {
                format!("current 被指向 {named}，已重新指向正在运行的 {version}")
            }
            Repairing { version, cause } => format!("正在使运行状态与 {version} 一致：{cause}"),
            SoakFailed { version, to, cause } => {
                format!("{version} 在观察期内失败，正在回滚到 {to}：{cause}")
            }
            SoakPassed { version } => format!("{version} 已通过观察期"),
            SoakStays { version, to, cause, late: true } => format!(
                "{version} 在观察期内失败（{cause}），但观察期已结束，回到 {to} 会恢复之前的数据；如仍需回退，请运行 'client rollback --to {to}'"
            ),
            SoakStays { version, cause, late: false, to } => {
                format!("{version} 在观察期内失败（{cause}），但保持现状：{to} 可用的数据备份已不存在")
            }
            DataPutBack { backup, kept: Some(kept) } => format!(
                "数据已恢复为备份 {backup} 的内容；此后写入的数据在备份 {kept} 中（'client backup restore {kept}' 可恢复）"
            ),
            DataPutAside { backup, kept, of } => format!(
                "数据已恢复为备份 {backup} 的内容；此后写入的数据在备份 {kept} 中，由 {of} 写入，较旧的版本可能无法读取：请先让 {of} 运行（'client upgrade --target {of}'，被隔离时加 --force），再恢复该备份"
            ),
            DataPutBack { backup, kept: None } => format!("数据已恢复为备份 {backup} 的内容"),
            EngineAway { text } => format!("正在等待 Docker Engine 恢复：{text}"),
            EngineBack { version } => format!("Docker Engine 已恢复（版本 {version}）"),
            StateRebuilt { cause, kept } if kept.is_empty() => {
                format!("状态数据库丢失（{cause}），已根据现有内容重建")
            }
            StateRebuilt { cause, kept } => {
                format!("状态数据库已损坏（{cause}），已根据现有内容重建；损坏的文件保留为 {kept}")
            }
            StateHistoryLost => "历史记录、隔离版本列表和未发送的报告已随原状态数据库丢失".into(),
            StateReleaseUnreadable { folder } => format!("无法识别 {folder} 是哪个版本"),
            StateBundleUnknown { version } => {
                format!("找不到 {version} 的安装包；其镜像只能来自引擎")
            }
            StateBackupUnreadable { file } => format!("备份 {file} 无法读取，没有记录"),
            StateChangeFound { from, to } => {
                format!("根据 work/ 中的文件找回了正在进行的从 {from} 到 {to} 的变更")
            }
            NotRunningBefore { services } => {
                format!("{services}：在本次变更之前就没有运行，现在也没有运行")
            }
            Way(way) => way.text(Lang::Zh),
            Edited { version, path, diff } => format!("{version} 的 {path} 被手工修改\n{diff}"),
            Warning { text } => text.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locale_chooses_the_language() {
        assert_eq!(Lang::from_locale("zh_CN.UTF-8"), Lang::Zh);
        assert_eq!(Lang::from_locale("zh-CN"), Lang::Zh);
        assert_eq!(Lang::from_locale("de_DE"), Lang::En);
        assert_eq!(Lang::from_locale(""), Lang::En);
    }

    #[test]
    fn the_wording_fixed_by_the_requirements_is_used() {
        let fixed = [
            (Say::StrategyStarted, "🔍 开始升级策略决策"),
            (Say::StrategyFull { reason: "x".into() }, "📦 选择全量升级策略"),
            (Say::DownloadStarted { name: "x".into() }, "🌐 开始下载文件"),
            (Say::MetadataSaved, "💾 已保存下载元数据"),
            (Say::DownloadFinished { name: "x".into() }, "🎉 下载完成"),
            (Say::BackupStarted, "开始创建备份"),
            (Say::BackupFinished { id: "x".into() }, "备份创建成功"),
            (Say::ImagesStarted { count: 1 }, "执行docker load命令"),
            (Say::ImageParsed { image: "x".into() }, "成功解析加载的镜像名称"),
        ];
        for (say, words) in fixed {
            assert!(say.text(Lang::Zh).starts_with(words), "{say:?}");
        }
    }
}
