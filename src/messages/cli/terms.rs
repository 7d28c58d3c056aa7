//! Words for the tokens that documents carry (`full`, `rolled_back`, `unhealthy` …).

use crate::messages::Lang;

/// Tokens and their Chinese words; in English a token reads well enough with spaces for underscores.
const CHINESE: &[(&str, &str)] = &[
    // strategies
    ("none", "无"),
    ("patch", "增量升级"),
    ("full", "全量升级"),
    // reasons of a strategy
    ("up_to_date", "已是最新"),
    ("installed_newer", "已安装的版本更新"),
    ("forced", "强制"),
    ("not_installed", "尚未安装"),
    ("compose_missing", "缺少 Compose 文件"),
    ("arch_changed", "架构已改变"),
    ("corrupted", "已安装的文件损坏"),
    ("base_version_changed", "基础版本已改变"),
    ("patch_available", "有可用补丁"),
    ("patch_missing", "没有适用的补丁"),
    ("patches_skipped", "跳过了补丁级别"),
    // states of an installation and of a change
    ("idle", "空闲"),
    ("upgrading", "升级中"),
    ("rolling_back", "回滚中"),
    ("soaking", "观察中"),
    ("needs_attention", "需要人工处理"),
    ("running", "运行中"),
    ("undoing", "撤销中"),
    ("completed", "已完成"),
    ("complete", "完整"),
    ("rolled_back", "已回滚"),
    ("escalated", "已转为恢复出厂版本"),
    ("superseded", "已由其他变更取代"),
    ("failed", "失败"),
    // kinds of a change and of a backup
    ("install", "安装"),
    ("adopt", "接管"),
    ("upgrade", "升级"),
    ("rollback", "回滚"),
    ("restore", "恢复数据"),
    ("factory", "恢复出厂版本"),
    ("pre-upgrade", "升级前"),
    ("safety", "恢复前保留"),
    ("manual", "手动"),
    ("staged", "待归档"),
    ("scheduled", "定时"),
    // services
    ("exited", "已退出"),
    ("missing", "缺失"),
    ("created", "已创建"),
    ("restarting", "重启中"),
    ("paused", "已暂停"),
    ("healthy", "健康"),
    ("unhealthy", "不健康"),
    ("starting", "启动中"),
    ("unchanged", "不变"),
    ("swap", "替换"),
    ("recreate", "重建"),
    ("add", "新增"),
    ("remove", "移除"),
    ("image", "镜像"),
    ("config", "配置"),
    ("files", "文件"),
    ("not running", "未运行"),
    // marks of a journal
    ("started", "开始"),
    ("done", "完成"),
    ("undo_started", "开始撤销"),
    ("undone", "已撤销"),
    ("undo_failed", "撤销失败"),
    // what doctor looks at
    ("engine", "引擎"),
    ("compose", "Compose"),
    ("disk", "磁盘"),
    ("clock", "时钟"),
    ("source", "更新源"),
    ("pointers", "版本指针"),
    ("images", "镜像"),
    ("folders", "版本目录"),
    ("bundles", "安装包"),
    ("installation", "安装"),
    ("state", "状态"),
    ("reserve", "预留空间"),
    ("journal", "日志"),
    ("backups", "备份"),
    ("containers", "容器"),
];

/// A word for `token`; a token without one is shown as it is.
pub fn term(token: &str, lang: Lang) -> String {
    match lang {
        Lang::En => token.replace('_', " "),
        Lang::Zh => {
            let known = CHINESE.iter().find(|(name, _)| *name == token);
            known.map_or_else(|| token.to_owned(), |(_, word)| (*word).to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_read_as_words() {
        assert_eq!(term("base_version_changed", Lang::En), "base version changed");
        assert_eq!(term("base_version_changed", Lang::Zh), "基础版本已改变");
        assert_eq!(term("something_new", Lang::Zh), "something_new");
    }

    #[test]
    fn what_doctor_looks_at_has_a_chinese_word() {
        for check in ["engine", "disk", "state", "reserve", "pointers", "journal", "backups", "containers"] {
            assert_ne!(term(check, Lang::Zh), check);
        }
    }

    #[test]
    fn no_token_is_listed_twice() {
        let mut names: Vec<_> = CHINESE.iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CHINESE.len());
    }
}
