//! What is said of the ways back: the folder, the images and the bundle of every version that may be gone back to.

use super::Lang;

/// What a way back consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The release folder.
    Folder,
    /// The images in the engine.
    Images,
    /// The bundles that images and folder can be made from again.
    Bundle,
}

/// How a part was found, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// All of it is there.
    Whole,
    /// Something is missing or damaged: what.
    Lacking(String),
    /// Something was, and is there again.
    Mended(String),
    /// Something is, and could not be brought back: what, and why.
    Lost(String, String),
}

/// One part of one way back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// The version it leads to.
    pub version: String,
    /// Which part.
    pub part: Part,
    /// How it is.
    pub condition: Condition,
}

impl Way {
    /// The sentence in `lang`.
    pub fn text(&self, lang: Lang) -> String {
        match lang {
            Lang::En => self.english(),
            Lang::Zh => self.chinese(),
        }
    }

    /// How to mend it; empty where there is nothing to mend.
    pub fn help(&self, lang: Lang) -> String {
        let words = match (&self.condition, lang) {
            (Condition::Lacking(_), Lang::En) => match self.part {
                Part::Folder => "Run 'client doctor --fix': it makes the folder again from a bundle.",
                Part::Images => {
                    "Run 'client doctor --fix': it loads them from the bundles here, or fetches the package again."
                }
                Part::Bundle => {
                    "Run 'client doctor --fix': it fetches the package again, or packs what is here."
                }
            },
            (Condition::Lacking(_), Lang::Zh) => match self.part {
                Part::Folder => "请运行 'client doctor --fix'，它会用安装包重建目录。",
                Part::Images => "请运行 'client doctor --fix'，它会从本机安装包加载镜像，或重新下载安装包。",
                Part::Bundle => "请运行 'client doctor --fix'，它会重新下载安装包，或用现有内容打包。",
            },
            (Condition::Lost(..), Lang::En) => {
                "Run 'client doctor --fix' when the source can be reached and the disk has room."
            }
            (Condition::Lost(..), Lang::Zh) => "请在更新源可用且磁盘空间足够时运行 'client doctor --fix'。",
            _ => "",
        };
        words.to_owned()
    }

    fn english(&self) -> String {
        let version = &self.version;
        let part = match self.part {
            Part::Folder => "release folder",
            Part::Images => "images",
            Part::Bundle => "bundle",
        };
        match &self.condition {
            Condition::Whole => format!("the way back to {version}: {part} whole"),
            Condition::Lacking(what) => {
                format!("the way back to {version}: {part} missing or damaged: {what}")
            }
            Condition::Mended(what) => format!("the way back to {version}: {part} restored: {what}"),
            Condition::Lost(what, cause) => {
                format!("the way back to {version}: {part} missing or damaged: {what} ({cause})")
            }
        }
    }

    fn chinese(&self) -> String {
        let version = &self.version;
        let part = match self.part {
            Part::Folder => "版本目录",
            Part::Images => "镜像",
            Part::Bundle => "安装包",
        };
        match &self.condition {
            Condition::Whole => format!("{version} 的回退：{part}完整"),
            Condition::Lacking(what) => format!("{version} 的回退：{part}缺失或损坏：{what}"),
            Condition::Mended(what) => format!("{version} 的回退：{part}已恢复：{what}"),
            Condition::Lost(what, cause) => format!("{version} 的回退：{part}缺失或损坏：{what}（{cause}）"),
        }
    }
}
