//! Causes in our own words, which a fault keeps in English, in Chinese. What others said (the engine, Compose, a log) stays
//! as they said it.

use std::borrow::Cow;

use super::Lang;

/// How a cause begins, and that in Chinese; longer ones first where one begins like another.
const BEGINNINGS: [(&str, &str); 14] = [
    ("its healthcheck fails again", "健康检查再次失败"),
    ("its healthcheck fails", "健康检查失败"),
    ("its healthcheck has not passed", "健康检查尚未通过"),
    ("its healthcheck passed at first and fails now", "健康检查起初通过，现在失败"),
    ("still has not ended", "仍未结束"),
    ("it was not started", "没有启动"),
    ("it is paused", "已暂停"),
    ("it was paused", "已暂停"),
    (RESTARTED, "被重启 "),
    ("it was restarted", "被重启"),
    ("it was killed for want of memory", "因内存不足被终止"),
    ("it exited with code ", "退出码 "),
    ("its container is gone", "容器已不存在"),
    ("it was begun too often without coming to an end", "多次开始而未能完成"),
];

/// What a number and [`TIMES`] follow.
const RESTARTED: &str = "it was restarted ";
/// See [`RESTARTED`].
const TIMES: (&str, &str) = (" times", " 次");

/// What introduces the words of others in a cause, and that in Chinese.
const JOINTS: [(&str, &str); 2] = [("; last check: ", "；最近一次检查："), ("; log:\n", "；日志：\n")];

/// What failed before all the rest, and what it is called.
pub fn first(lang: Lang) -> &'static str {
    match lang {
        Lang::En => "; first: ",
        Lang::Zh => "；起因：",
    }
}

/// `cause` with what is ours in Chinese.
pub fn in_chinese(cause: &str) -> Cow<'_, str> {
    let begins = |(english, _): &&(&str, &str)| cause.starts_with(english);
    let Some((english, chinese)) = BEGINNINGS.iter().find(begins) else { return cause.into() };
    let mut text = cause.replacen(english, chinese, 1);
    let times = (*english == RESTARTED).then_some(TIMES);
    for (english, chinese) in times.into_iter().chain(JOINTS) {
        // The first alone: a log may say the same.
        text = text.replacen(english, chinese, 1);
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_words_are_in_chinese_and_those_of_others_stay() {
        let table = [
            (
                "its healthcheck fails; last check: exit 1; log:\nno disk",
                "健康检查失败；最近一次检查：exit 1；日志：\nno disk",
            ),
            ("it exited with code 3; log:\nit was restarted", "退出码 3；日志：\nit was restarted"),
            ("its healthcheck fails again", "健康检查再次失败"),
            ("it was restarted 4 times; log:\nsome times", "被重启 4 次；日志：\nsome times"),
            ("it was restarted", "被重启"),
            ("No such image: x", "No such image: x"),
            ("", ""),
        ];
        for (english, chinese) in table {
            assert_eq!(in_chinese(english), chinese);
        }
    }
}
