//! The steps a plan is made of. Data only: what each does is in `effects`.

use serde::{Deserialize, Serialize};

use crate::messages::Lang;
use crate::progress;
use crate::release::Digest;
use crate::release::operations::Operations;

/// One step. Each is idempotent, and each before [`Step::Commit`] can be undone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Step {
    /// Folder and images of every version that may be gone back to are made whole.
    SecureWays,
    /// A package comes into `bundles/`, verified.
    Fetch(Package),
    /// The release folder is made.
    Unpack {
        /// The file in `bundles/`.
        file: String,
        /// For a patch: what it does to the installed release's files.
        patch: Option<Operations>,
    },
    /// The operator's `.env` and edited config files are carried over.
    CarryEdits,
    /// Images the engine lacks are loaded, all are pinned.
    LoadImages {
        /// The file in `bundles/` they come from; none where all must be there (a rollback).
        file: Option<String>,
    },
    /// References move to the new images.
    TagImages {
        /// Each move.
        moves: Vec<TagMove>,
    },
    /// New containers are created, not started.
    CreateContainers,
    /// The data is copied while its services run, so that the backup has little left to do.
    CopyData,
    /// The data is backed up.
    Backup,
    /// The way back is checked; undoing it brings the old containers back.
    Protect,
    /// `current` points to the new release.
    FlipCurrent,
    /// Services are stopped before the data is touched.
    StopServices {
        /// In the order they are stopped.
        services: Vec<String>,
    },
    /// Data comes back from a backup; undoing it restores the one made just before.
    RestoreData {
        /// The backup's ID.
        backup: String,
    },
    /// A service goes from its old containers to its new ones.
    Swap {
        /// The Compose service.
        service: String,
    },
    /// Everything that runs is verified.
    Verify,
    /// The point of no return.
    Commit,
    /// Old containers are removed, new ones take the usual names.
    Finalize,
    /// What is no longer needed is removed.
    CleanUp,
}

/// A package to fetch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Where it is, the preferred place first.
    pub locations: Vec<String>,
    /// What it must hash to; none only with `--insecure`.
    pub hash: Option<Digest>,
    /// Its length, where the manifest gives it.
    pub size: Option<u64>,
    /// Its name in `bundles/`.
    pub file: String,
    /// The index of its members, where only those may be fetched that this machine lacks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<PackageIndex>,
}

/// Where the index of a package is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageIndex {
    /// Where it is.
    pub location: String,
    /// What it must hash to.
    pub hash: Digest,
}

/// A reference that moves from one image to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagMove {
    /// The reference.
    pub reference: String,
    /// The engine's ID of the image it names afterwards.
    pub to: String,
    /// The engine's ID of the image it named before.
    pub from: Option<String>,
}

impl Package {
    /// What a person knows it by: the last part of where it comes from.
    pub fn name(&self) -> String {
        let first = self.locations.first().map(String::as_str).unwrap_or(&self.file);
        let path = first.split(['?', '#']).next().unwrap_or(first);
        path.rsplit('/').next().unwrap_or(path).to_owned()
    }
}

impl Step {
    /// Whether the stack is wholly back only when this is undone. What the others leave behind is in nobody's way.
    pub fn is_vital(&self) -> bool {
        !matches!(
            self,
            Self::SecureWays
                | Self::Fetch(_)
                | Self::Unpack { .. }
                | Self::CarryEdits
                | Self::LoadImages { .. }
                | Self::TagImages { .. }
                | Self::CreateContainers
                | Self::CopyData
                | Self::CleanUp
        )
    }

    /// The public step it belongs to.
    pub fn public(&self) -> progress::Step {
        use progress::Step as Public;
        match self {
            Self::SecureWays => Public::CheckingUpdates,
            Self::Fetch(_) => Public::DownloadingUpdate,
            Self::Unpack { .. } | Self::CarryEdits => Public::ExtractingUpdate,
            Self::LoadImages { .. } | Self::TagImages { .. } => Public::LoadingImages,
            Self::CopyData | Self::Backup => Public::CreatingBackup,
            Self::StopServices { .. } | Self::RestoreData { .. } => Public::StoppingServices,
            Self::CreateContainers | Self::FlipCurrent | Self::Swap { .. } => Public::StartingServices,
            Self::Protect | Self::Verify => Public::VerifyingServices,
            Self::Commit | Self::Finalize | Self::CleanUp => Public::CleaningUp,
        }
    }

    /// The name in the journal and in kill points, with its object.
    pub fn name(&self) -> String {
        match self {
            Self::SecureWays => "secure_ways".into(),
            Self::Fetch(_) => "fetch".into(),
            Self::Unpack { .. } => "unpack".into(),
            Self::CarryEdits => "carry_edits".into(),
            Self::LoadImages { .. } => "load_images".into(),
            Self::TagImages { .. } => "tag_images".into(),
            Self::CreateContainers => "create_containers".into(),
            Self::CopyData => "copy_data".into(),
            Self::Backup => "backup".into(),
            Self::Protect => "protect".into(),
            Self::FlipCurrent => "flip_current".into(),
            Self::StopServices { .. } => "stop_services".into(),
            Self::RestoreData { .. } => "restore_data".into(),
            Self::Swap { service } => format!("swap:{service}"),
            Self::Verify => "verify".into(),
            Self::Commit => "commit".into(),
            Self::Finalize => "finalize".into(),
            Self::CleanUp => "clean_up".into(),
        }
    }

    /// Whether its effect can be noticed by who uses the stack; a failure after such a step is a rollback.
    pub fn touches_stack(&self) -> bool {
        matches!(self, Self::StopServices { .. } | Self::RestoreData { .. } | Self::Swap { .. })
    }

    /// What it does, for a person.
    pub fn describe(&self, lang: Lang) -> String {
        match lang {
            Lang::En => self.english(),
            Lang::Zh => self.chinese(),
        }
    }

    fn english(&self) -> String {
        match self {
            Self::SecureWays => "check the ways back and mend them".into(),
            Self::Fetch(package) => format!("fetch {} and verify it", package.name()),
            Self::Unpack { patch: None, .. } => "unpack the release".into(),
            Self::Unpack { patch: Some(_), .. } => {
                "make the release from the installed one and the patch".into()
            }
            Self::CarryEdits => "carry over .env and edited config files".into(),
            Self::LoadImages { .. } => "load and check the images the engine lacks".into(),
            Self::TagImages { moves } => format!("move {} image references", moves.len()),
            Self::CreateContainers => "create the new containers beside the running ones".into(),
            Self::CopyData => "copy the data while the services run".into(),
            Self::Backup => "back up the data".into(),
            Self::Protect => "check that the way back is there".into(),
            Self::FlipCurrent => "switch 'current' to the new release".into(),
            Self::StopServices { services } => format!("stop {}", services.join(", ")),
            Self::RestoreData { backup } => format!("restore the data from backup {backup}"),
            Self::Swap { service } => {
                format!("{service}: stop the old container, start the new one, wait until ready")
            }
            Self::Verify => "verify health, images and probes over the stability window".into(),
            Self::Commit => "commit".into(),
            Self::Finalize => "remove the old containers".into(),
            Self::CleanUp => "remove what is no longer needed".into(),
        }
    }

    fn chinese(&self) -> String {
        match self {
            Self::SecureWays => "检查并修复回退所需内容".into(),
            Self::Fetch(package) => format!("下载并校验 {}", package.name()),
            Self::Unpack { patch: None, .. } => "解压新版本".into(),
            Self::Unpack { patch: Some(_), .. } => "由已安装版本和补丁生成新版本".into(),
            Self::CarryEdits => "保留 .env 和修改过的配置文件".into(),
            Self::LoadImages { .. } => "加载并检查引擎缺少的镜像".into(),
            Self::TagImages { moves } => format!("移动 {} 个镜像标签", moves.len()),
            Self::CreateContainers => "在运行中的容器旁创建新容器".into(),
            Self::CopyData => "在服务运行时复制数据".into(),
            Self::Backup => "备份数据".into(),
            Self::Protect => "确认可以回退".into(),
            Self::FlipCurrent => "将 current 切换到新版本".into(),
            Self::StopServices { services } => format!("停止 {}", services.join("、")),
            Self::RestoreData { backup } => format!("从备份 {backup} 恢复数据"),
            Self::Swap { service } => format!("{service}：停止旧容器，启动新容器，等待就绪"),
            Self::Verify => "在稳定窗口内验证健康、镜像和探测".into(),
            Self::Commit => "提交".into(),
            Self::Finalize => "删除旧容器".into(),
            Self::CleanUp => "清理不再需要的内容".into(),
        }
    }
}
