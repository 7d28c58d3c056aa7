//! What is said of the data that a backup has and has not.

use super::Lang;

/// Something about the data of a stack that its operator should know.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum DataNote {
    /// The settings name what is no piece of the data.
    Unknown {
        /// In the settings.
        name: String,
    },
    /// The settings leave out under one name what a volume and a persist path have both.
    OfBoth {
        /// In the settings.
        name: String,
    },
    /// The command of a backup is to run in a service that the stack does not have.
    ServiceUnknown {
        /// In the settings.
        name: String,
        /// The service.
        service: String,
    },
    /// A service writes to a path of the host that nobody named.
    OnHost {
        /// The service.
        service: String,
        /// Where.
        path: String,
    },
    /// A service writes into the release's own folder.
    InRelease {
        /// The service.
        service: String,
        /// Where.
        path: String,
    },
    /// A service keeps data in a volume without a name.
    Unnamed {
        /// The service.
        service: String,
        /// Where.
        path: String,
    },
    /// A volume or network came while a change was under way, and not by it.
    Strange {
        /// Its name.
        name: String,
    },
    /// What a version that failed wrote is in no backup.
    NotKept {
        /// Why.
        cause: String,
    },
    /// The archive of a backup could not be written.
    Unarchived {
        /// The backup.
        id: String,
        /// Why.
        cause: String,
    },
}

impl DataNote {
    /// The sentence in `lang`.
    pub fn text(&self, lang: Lang) -> String {
        match lang {
            Lang::En => self.english(),
            Lang::Zh => self.chinese(),
        }
    }

    fn english(&self) -> String {
        use DataNote::*;
        match self {
            Unknown { name } => format!(
                "[backup] names {name}, which is neither a named volume nor a persist path of this release; nothing comes of it"
            ),
            OfBoth { name } => format!(
                "backup.exclude names {name}, which is a named volume and a persist path; both are left out. Write volumes/{name} or persist/{name} to leave out one"
            ),
            ServiceUnknown { name, service } => format!(
                "backup.data.{name} names the service {service}, which the stack does not have; no command is run, and the files are backed up"
            ),
            Unnamed { service, path } => format!(
                "the service {service} keeps {path} in a volume without a name, which is in no backup. Give it a name under 'volumes:', or put \"{service}:{path}\" into backup.exclude"
            ),
            InRelease { service, path } => format!(
                "the service {service} writes to {path} in the release's own folder: that is in no backup, and the next version does not see it. Put {path} into 'persist', or \"{path}\" into backup.exclude"
            ),
            Strange { name } => format!(
                "{name} bears the project's label and was made by somebody else while the change was under way; it is left as it is"
            ),
            NotKept { cause } => format!(
                "the data of before comes back, and what was written since could not be kept: {cause}"
            ),
            Unarchived { id, cause } => format!(
                "the archive of backup {id} could not be written ({cause}); the copy of the data is kept in backups/ and can be restored, and the next command tries again"
            ),
            OnHost { service, path } => format!(
                "the service {service} writes to {path} on this machine, which is in no backup. Name it in client.toml, [backup.data.\"{path}\"], or put it into backup.exclude"
            ),
        }
    }

    fn chinese(&self) -> String {
        use DataNote::*;
        match self {
            Unknown { name } => {
                format!("[backup] 中的 {name} 既不是本版本的命名卷，也不是持久路径；该设置不起作用")
            }
            OfBoth { name } => format!(
                "backup.exclude 中的 {name} 既是命名卷，也是持久路径；两者都不会备份。如只需排除其一，请写 volumes/{name} 或 persist/{name}"
            ),
            ServiceUnknown { name, service } => {
                format!("backup.data.{name} 中的服务 {service} 不存在；不会运行导出命令，改为备份文件")
            }
            Unnamed { service, path } => format!(
                "服务 {service} 的 {path} 位于未命名的卷中，不会备份。请在 'volumes:' 下为其命名，或将 \"{service}:{path}\" 加入 backup.exclude"
            ),
            InRelease { service, path } => format!(
                "服务 {service} 写入版本目录内的 {path}：不会备份，升级后也看不到这些数据。请将 {path} 加入 'persist'，或将 \"{path}\" 加入 backup.exclude"
            ),
            Strange { name } => format!("{name} 带有本项目的标签，但是在变更期间由他人创建；保持不变"),
            NotKept { cause } => format!("恢复之前的数据，此后写入的数据未能保留：{cause}"),
            Unarchived { id, cause } => format!(
                "备份 {id} 的归档未能写入（{cause}）；数据的副本保留在 backups/ 中，可用于恢复，下一个命令会重试"
            ),
            OnHost { service, path } => format!(
                "服务 {service} 写入本机的 {path}，不会备份。请在 client.toml 中用 [backup.data.\"{path}\"] 指定，或将其加入 backup.exclude"
            ),
        }
    }
}
