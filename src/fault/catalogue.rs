//! Every failure the product knows: its stable name, its class, and its words in both languages.

use crate::messages::Lang;

/// What a failure means for the caller; `cli::exit` maps it to an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Something did not work.
    Failed,
    /// The command line is wrong.
    Usage,
    /// A rule forbids it.
    Policy,
    /// What was received cannot be trusted.
    Trust,
    /// Another process is at work.
    Locked,
    /// A person stopped it.
    Interrupted,
    /// A person is needed.
    NeedsPerson,
}

macro_rules! codes {
    ($($variant:ident $name:literal $class:ident
        $en:literal $en_help:literal
        $zh:literal $zh_help:literal;)*) => {
        /// Stable identity of a failure (`error.code` in the result).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $(#[doc = $en] $variant,)*
        }

        impl Code {
            /// All codes, in the order of the catalogue.
            pub const ALL: &'static [Code] = &[$(Code::$variant,)*];

            /// The stable name, for machines.
            pub fn name(self) -> &'static str {
                match self { $(Code::$variant => $name,)* }
            }

            /// The code of a stable name.
            pub fn from_name(name: &str) -> Option<Code> {
                Self::ALL.iter().copied().find(|code| code.name() == name)
            }

            /// What it means for the caller.
            pub fn class(self) -> Class {
                match self { $(Code::$variant => Class::$class,)* }
            }

            /// The sentence, with `{object}` to be filled in.
            pub fn text(self, lang: Lang) -> &'static str {
                match (self, lang) {
                    $((Code::$variant, Lang::En) => $en, (Code::$variant, Lang::Zh) => $zh,)*
                }
            }

            /// The advice, possibly with `{object}` to be filled in.
            pub fn help(self, lang: Lang) -> &'static str {
                match (self, lang) {
                    $((Code::$variant, Lang::En) => $en_help, (Code::$variant, Lang::Zh) => $zh_help,)*
                }
            }
        }
    };
}

codes! {
    Usage "USAGE" Usage
        "'{object}' cannot be used this way" "See 'client --help'."
        "'{object}' 的用法不正确" "请查看 'client --help'。";
    ConfigInvalid "CONFIG_INVALID" Usage
        "the settings in {object} are not valid" "Correct the file, or delete the line to use the default."
        "{object} 中的设置无效" "请修正该文件，或删除该行以使用默认值。";
    SecretExposed "SECRET_EXPOSED" Usage
        "{object} holds a secret and others can read it" "Run 'chmod 600 {object}'."
        "{object} 中有机密信息，而其他用户可以读取" "请运行 'chmod 600 {object}'。";
    NotInitialised "NOT_INITIALISED" Failed
        "there is no installation in {object}" "Run 'client init' there first, or name the right folder with --root."
        "{object} 中没有安装" "请先在该目录运行 'client init'，或用 --root 指定正确的目录。";
    AlreadyInitialised "ALREADY_INITIALISED" Failed
        "{object} already holds an installation" "Use 'client upgrade' to change its version."
        "{object} 中已有安装" "请用 'client upgrade' 更换版本。";
    ProjectRunning "PROJECT_RUNNING" Failed
        "a stack of the project {object} is here already" "Take it over with 'client init --adopt DIR --version V', or choose another project name."
        "项目 {object} 的应用已存在" "请用 'client init --adopt 目录 --version 版本' 接管，或换一个项目名。";
    Locked "LOCKED" Locked
        "another client is at work in {object}" "Wait until it has ended, or stop it; its work is continued by the next run."
        "另一个 client 正在 {object} 中工作" "请等待其结束或将其停止；下次运行会继续未完成的工作。";
    Interrupted "INTERRUPTED" Interrupted
        "{object} was interrupted" "The state is safe. Run 'client upgrade' again to continue."
        "{object} 已中断" "状态是安全的。再次运行 'client upgrade' 即可继续。";
    StateInvalid "STATE_INVALID" Failed
        "the state database {object} cannot be read" "Run 'client doctor'; it says how to mend it."
        "无法读取状态数据库 {object}" "请运行 'client doctor'，它会说明修复方法。";
    StateDamaged "STATE_DAMAGED" Failed
        "the state database {object} is damaged" "Run the command again: the next run keeps the damaged file aside and rebuilds the state from what is there."
        "状态数据库 {object} 已损坏" "请再次运行该命令：下次运行会保留损坏的文件，并根据现有内容重建状态。";
    JournalIllegal "JOURNAL_ILLEGAL" Failed
        "the journal of {object} has an entry that cannot follow the one before it" "Run 'client doctor' and send its output to the vendor."
        "{object} 的日志中有一条不合顺序的记录" "请运行 'client doctor' 并把输出发给供应商。";
    Io "IO" Failed
        "{object} cannot be read or written" "Check the disk and the path, then run the command again."
        "无法读写 {object}" "请检查磁盘和路径，然后重新运行。";
    DiskFull "DISK_FULL" Failed
        "there is not enough room on the disk for {object}" "Free space on that disk ('client backup prune' can help), then run the command again."
        "磁盘空间不足，无法写入 {object}" "请释放该磁盘的空间（可用 'client backup prune'），然后重新运行。";
    DiskReadOnly "DISK_READ_ONLY" Failed
        "{object} is on a read-only disk" "Mount the disk for writing, then run the command again."
        "{object} 所在磁盘为只读" "请以可写方式挂载磁盘，然后重新运行。";
    PermissionDenied "PERMISSION_DENIED" Failed
        "access to {object} was denied" "Run the command as a user who may use it (often root)."
        "没有权限访问 {object}" "请用有权限的用户（通常为 root）运行。";

    VersionInvalid "VERSION_INVALID" Failed
        "'{object}' is not a version" "Write it as three or four numbers, such as 1.2.0 or 1.2.0.1."
        "'{object}' 不是有效的版本号" "请写成三段或四段数字，例如 1.2.0 或 1.2.0.1。";
    ManifestInvalid "MANIFEST_INVALID" Failed
        "the manifest {object} is not valid" "Tell the vendor; nothing was changed."
        "清单 {object} 无效" "请联系供应商；未做任何更改。";
    ManifestTooLarge "MANIFEST_TOO_LARGE" Failed
        "the manifest {object} is larger than 1 MiB" "Check that the source address is right; nothing was changed."
        "清单 {object} 超过 1 MiB" "请检查更新源地址；未做任何更改。";
    NoPackage "NO_PACKAGE" Failed
        "the manifest has no package for {object}" "Ask the vendor for a package for this machine's architecture."
        "清单中没有适用于 {object} 的安装包" "请向供应商索取适合本机架构的安装包。";
    ReleaseUnknown "RELEASE_UNKNOWN" Failed
        "version {object} is not to be had" "See 'client check' and 'client history' for the versions there are."
        "找不到版本 {object}" "可用 'client check' 和 'client history' 查看现有版本。";
    ReleaseDamaged "RELEASE_DAMAGED" Failed
        "the release folder {object} does not hold what was installed" "Run 'client doctor --fix', which makes it again, or 'client upgrade --force-full' to install the newest anew."
        "版本目录 {object} 的内容与安装时不符" "请运行 'client doctor --fix' 重建，或运行 'client upgrade --force-full' 重新安装最新版本。";

    ReleaseExists "RELEASE_EXISTS" Policy
        "{object} is published already with other content" "Publish the change under a new version; devices may have this one."
        "{object} 已发布且内容不同" "请用新的版本号发布更改；设备可能已安装该版本。";

    SourceUnreachable "SOURCE_UNREACHABLE" Failed
        "the source {object} cannot be reached" "Check the network and the address; the next run continues where this one stopped."
        "无法连接更新源 {object}" "请检查网络和地址；下次运行会从中断处继续。";
    SourceRefused "SOURCE_REFUSED" Failed
        "the source refused {object}" "Check the address and the credentials in client.toml."
        "更新源拒绝了 {object}" "请检查 client.toml 中的地址和凭据。";
    WebPage "WEB_PAGE" Failed
        "{object} answered with a web page instead of the file" "The network may want a login first (a captive portal): open any page in a browser there. Otherwise check the address."
        "{object} 返回的是网页而不是文件" "该网络可能需要先登录（强制门户）：请在该网络的浏览器中打开任意网页登录。否则请检查地址。";
    LinkExpired "LINK_EXPIRED" Failed
        "the signed address {object} is no longer accepted" "Run the command again: it asks the source for a new one and continues where it stopped."
        "签名地址 {object} 已失效" "请重新运行：会向更新源索取新的地址，并从中断处继续。";
    ReportFailed "REPORT_FAILED" Failed
        "a report could not be delivered to {object}" "Check report.url and the network; it is kept and delivered by a later command."
        "无法将报告发送到 {object}" "请检查 report.url 和网络；报告已保留，会由之后的命令发送。";
    DownloadFailed "DOWNLOAD_FAILED" Failed
        "the download of {object} did not finish" "Run the command again; it continues where it stopped."
        "{object} 下载未完成" "请重新运行，会从中断处继续下载。";
    DocumentTooLarge "DOCUMENT_TOO_LARGE" Failed
        "the document {object} is larger than is allowed" "Check that the source address is right; nothing was changed."
        "文档 {object} 超过允许的大小" "请检查更新源地址；未做任何更改。";
    HashMismatch "HASH_MISMATCH" Trust
        "{object} does not have the promised content" "It was not used. Try again; if it persists, tell the vendor."
        "{object} 的内容与承诺的不一致" "该文件未被使用。请重试；若仍然如此，请联系供应商。";
    SizeMismatch "SIZE_MISMATCH" Trust
        "{object} does not have the promised length" "It was not used. Try again; if it persists, tell the vendor."
        "{object} 的长度与承诺的不一致" "该文件未被使用。请重试；若仍然如此，请联系供应商。";
    HashMissing "HASH_MISSING" Trust
        "{object} has no hash that can be trusted" "Use a source with signed metadata, or accept the risk with --insecure at 'client init'."
        "{object} 没有可信的哈希值" "请使用带签名的更新源，或在 'client init' 时用 --insecure 接受风险。";
    SignatureInvalid "SIGNATURE_INVALID" Trust
        "the signature of {object} is not valid" "It was not used. Tell the vendor."
        "{object} 的签名无效" "该文件未被使用。请联系供应商。";

    BundleInvalid "BUNDLE_INVALID" Failed
        "the bundle {object} is not valid" "Download it again; if it persists, tell the vendor."
        "安装包 {object} 无效" "请重新下载；若仍然如此，请联系供应商。";
    BundleTruncated "BUNDLE_TRUNCATED" Failed
        "the bundle {object} ends too early" "Download it again; it is not complete."
        "安装包 {object} 不完整" "请重新下载。";
    BundleUnsafe "BUNDLE_UNSAFE" Trust
        "the bundle holds an entry that could write outside its folder: {object}" "It was not unpacked. Tell the vendor."
        "安装包中有可能写到目录之外的条目：{object}" "未解压。请联系供应商。";
    BundleTooLarge "BUNDLE_TOO_LARGE" Trust
        "{object} unpacks to more than it declares or than is allowed" "It was not unpacked. Tell the vendor."
        "{object} 解压后超过声明或允许的大小" "未解压。请联系供应商。";
    IndexInvalid "INDEX_INVALID" Trust
        "the index {object} does not describe its bundle" "It was not used. Tell the vendor."
        "索引 {object} 与安装包不符" "该文件未被使用。请联系供应商。";
    MemberNotFetched "MEMBER_NOT_FETCHED" Failed
        "only a part of the bundle {object} was fetched" "The rest is fetched when it is needed; check that the source can be reached."
        "安装包 {object} 只下载了一部分" "需要时会下载其余部分；请确认更新源可以访问。";

    EngineUnreachable "ENGINE_UNREACHABLE" Failed
        "the Docker Engine at {object} does not answer" "Start it (for example 'systemctl start docker') and run the command again."
        "{object} 上的 Docker Engine 没有响应" "请启动它（例如 'systemctl start docker'），然后重新运行。";
    EngineTooOld "ENGINE_TOO_OLD" Failed
        "the Docker Engine at {object} is too old" "Upgrade it to API 1.41 (Engine 20.10) or later."
        "{object} 上的 Docker Engine 版本过旧" "请升级到 API 1.41（Engine 20.10）或更高版本。";
    EngineFailed "ENGINE_FAILED" Failed
        "the Docker Engine could not do it for {object}" "Read the cause, mend it, and run the command again."
        "Docker Engine 无法完成对 {object} 的操作" "请查看原因并修复，然后重新运行。";
    ComposeMissing "COMPOSE_MISSING" Failed
        "Docker Compose v2 was not found ({object})" "Install the Compose plugin (package docker-compose-plugin or docker-compose)."
        "找不到 Docker Compose v2（{object}）" "请安装 Compose 插件（docker-compose-plugin 或 docker-compose）。";
    ComposeInvalid "COMPOSE_INVALID" Failed
        "the Compose files in {object} do not resolve" "Correct what Compose complains of."
        "{object} 中的 Compose 文件无法解析" "请按 Compose 的提示修正。";
    VariableUnset "VARIABLE_UNSET" Failed
        "a variable that {object} requires has no value" "Set it in the .env file of the installation (shared/.env)."
        "{object} 需要的变量没有值" "请在安装目录的 .env 文件（shared/.env）中设置。";
    ComposeFailed "COMPOSE_FAILED" Failed
        "Docker Compose could not do it for {object}" "Read what Compose says, mend it, and run the command again."
        "Docker Compose 无法完成对 {object} 的操作" "请查看 Compose 的提示并修复，然后重新运行。";
    ImageMissing "IMAGE_MISSING" Failed
        "the image {object} is not in the engine" "For a rollback or an upgrade, run 'client doctor --fix': it takes images from the bundles here or from the source. With the package as a file, run 'client upgrade --bundle FILE'. For packing a release, load or build the image."
        "引擎中没有镜像 {object}" "回滚或升级时请运行 'client doctor --fix'，它会从本机安装包或更新源获取镜像；若有安装包文件，请运行 'client upgrade --bundle 文件'。打包版本时请先加载或构建该镜像。";
    ImageLoadFailed "IMAGE_LOAD_FAILED" Failed
        "the engine did not load the image {object}" "Check the engine's disk and log, then run the command again."
        "引擎未能加载镜像 {object}" "请检查引擎的磁盘和日志，然后重新运行。";
    ImageWrong "IMAGE_WRONG" Trust
        "the image {object} is not the planned one" "It was not started. Try again; if it persists, tell the vendor."
        "镜像 {object} 不是计划中的镜像" "未启动该镜像。请重试；若仍然如此，请联系供应商。";
    ImageReference "IMAGE_REFERENCE" Failed
        "the image of {object} cannot be packed under its reference" "Give the service an 'image:' with a name and a tag, without a digest."
        "{object} 的镜像引用无法打包" "请为该服务设置带名称和标签、不带摘要的 'image:'。";
    PortTaken "PORT_TAKEN" Failed
        "a port that {object} needs is taken" "Free the port or change it, then run the command again."
        "{object} 需要的端口已被占用" "请释放或更改该端口，然后重新运行。";
    ContainerFailed "CONTAINER_FAILED" Failed
        "the container of {object} could not be started or stopped" "See its log with 'docker logs'."
        "无法启动或停止 {object} 的容器" "请用 'docker logs' 查看日志。";
    Unhealthy "UNHEALTHY" Failed
        "{object} is not healthy" "The message has what its check and its log said last. Tell the vendor."
        "{object} 不健康" "消息中包含检查与日志的最后内容。请联系供应商。";
    HealthTimeout "HEALTH_TIMEOUT" Failed
        "{object} was not ready in time" "The message has what its log said last. If it is only slow, ask the vendor to give it more time."
        "{object} 未在规定时间内就绪" "消息中包含日志的最后内容。若只是启动较慢，请供应商延长时间。";
    Exited "EXITED" Failed
        "{object} has ended or was restarted" "The message has what its log said last. Tell the vendor."
        "{object} 已退出或被重启" "消息中包含日志的最后内容。请联系供应商。";
    ProbeFailed "PROBE_FAILED" Failed
        "the probe {object} failed" "Tell the vendor, whose release declares the probe."
        "探测 {object} 失败" "请联系供应商：该探测由版本声明。";
    VolumeChanged "VOLUME_CHANGED" Policy
        "the new release changes the definition of the existing volume {object}" "Nothing was changed, because Compose would drop its data. Ask the vendor to give the volume a new name."
        "新版本更改了已有数据卷 {object} 的定义" "未做任何更改，因为 Compose 会丢弃其数据。请供应商为该卷使用新名称。";
    NetworkChanged "NETWORK_CHANGED" Policy
        "the new release changes the definition of the existing network {object}" "Nothing was changed, because every service on it would be cut off. Ask the vendor to give the network a new name."
        "新版本更改了已有网络 {object} 的定义" "未做任何更改，因为该网络上的所有服务都会中断。请供应商为该网络使用新名称。";

    BackupFailed "BACKUP_FAILED" Failed
        "the backup {object} could not be made" "Read the cause, mend it, and run the command again; nothing was stopped for good."
        "无法创建备份 {object}" "请查看原因并修复，然后重新运行。";
    BackupCorrupt "BACKUP_CORRUPT" Failed
        "the backup {object} is damaged" "Do not rely on it. 'client backup list' shows others."
        "备份 {object} 已损坏" "请勿使用它。'client backup list' 可查看其他备份。";
    BackupUnknown "BACKUP_UNKNOWN" Failed
        "there is no backup {object}" "'client backup list' shows those there are."
        "没有备份 {object}" "'client backup list' 可查看现有备份。";
    BackupNeeded "BACKUP_NEEDED" Policy
        "the backup {object} is still needed" "'client status' says what for. Once that has ended, by 'client upgrade' or 'client rollback', it can be deleted."
        "备份 {object} 仍被需要" "请用 'client status' 查看原因；待 'client upgrade' 或 'client rollback' 结束后再删除。";
    DataNewer "DATA_NEWER" Policy
        "the data of {object} was written by a newer release" "Get back to that version first ('client upgrade --target VERSION', with --force where it is in quarantine), then restore. To restore it all the same, add --force."
        "{object} 的数据由更新的版本写入" "请先回到该版本（'client upgrade --target 版本'，被隔离时加 --force），再恢复。如仍要恢复，请加上 --force。";
    RestoreFailed "RESTORE_FAILED" Failed
        "the data of {object} could not be restored" "The former data is kept beside it; read the cause and run the command again."
        "无法恢复 {object} 的数据" "原有数据保留在旁边；请查看原因后重新运行。";

    Downgrade "DOWNGRADE" Policy
        "version {object} is older than the installed one" "Name it with --target if that is what you want."
        "版本 {object} 比已安装的版本旧" "如确需降级，请用 --target 指定。";
    Quarantined "QUARANTINED" Policy
        "version {object} is in quarantine here" "It is tried again when the vendor mends it. To try it all the same, run 'client upgrade --target {object} --force'."
        "版本 {object} 在此已被隔离" "供应商修复后会重新尝试。如仍要尝试，请运行 'client upgrade --target {object} --force'。";
    RequiresFrom "REQUIRES_FROM" Policy
        "version {object} cannot be installed over the present one" "Upgrade to a version in between first, with --target."
        "无法在当前版本上直接安装 {object}" "请先用 --target 升级到中间版本。";
    ConsentMissing "CONSENT_MISSING" Policy
        "{object} needs your consent" "Run it again with --yes, or answer 'y'."
        "{object} 需要您的确认" "请加上 --yes 重新运行，或回答 'y'。";
    HookRefused "HOOK_REFUSED" Failed
        "the hook {object} cannot be run" "This client does not run hooks; remove them from the release."
        "无法运行钩子 {object}" "本客户端不运行钩子；请从版本中删除。";
    BackupCopyFailed "BACKUP_COPY_FAILED" Failed
        "the backup could not be copied ({object})" "The backup itself is whole. Mend the place named by backup.copy in client.toml and run 'client backup copy'."
        "无法复制备份（{object}）" "备份本身完好。请修复 client.toml 中 backup.copy 指定的位置，然后运行 'client backup copy'。";
    HookFailed "HOOK_FAILED" Failed
        "the command '{object}' in the service failed" "Run it there by hand; it comes from [backup.data] in release.toml or client.toml, where another way of backing up can be chosen."
        "服务中的命令 '{object}' 失败" "请在该服务中手动运行；它来自 release.toml 或 client.toml 的 [backup.data]，也可在那里选择其他备份方式。";
    TrustUnsupported "TRUST_UNSUPPORTED" Usage
        "signed metadata ({object}) cannot be checked by this client" "Use a client that can, or --insecure to go on without signatures."
        "本客户端无法校验签名元数据（{object}）" "请使用支持的客户端，或用 --insecure 在无签名的情况下继续。";
    NoPrevious "NO_PREVIOUS" Failed
        "there is no {object} to go back to" "See 'client history' for the versions that were installed."
        "没有可回退的 {object}" "可用 'client history' 查看安装过的版本。";
    RollbackFailed "ROLLBACK_FAILED" NeedsPerson
        "the stack {object} could not be brought back" "See 'client status' and 'client doctor'; the backups are in backups/."
        "无法恢复应用 {object}" "请查看 'client status' 和 'client doctor'；备份在 backups/ 中。";
}
