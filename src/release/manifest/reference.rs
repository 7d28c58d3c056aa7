//! The addresses a manifest may name.

use url::Url;

/// Checks an address as a manifest may name it and returns it as it is kept: `http`, `https` or `file`, or
/// relative and below the manifest.
pub(super) fn check(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("the address is empty".into());
    }
    if text.chars().any(|c| c.is_control() || c == '\\') {
        return Err("the address has a control character or a backslash".into());
    }
    match Url::parse(text) {
        Ok(url) => check_absolute(&url).map(|()| text.to_owned()),
        Err(url::ParseError::RelativeUrlWithoutBase) => {
            let bare = text.strip_prefix("./").unwrap_or(text);
            // `manifest/<version>.json` names packages beside its folder.
            if stays_below(bare.strip_prefix("../").unwrap_or(bare)) {
                Ok(bare.to_owned())
            } else {
                Err("the address leads out of the manifest's folder".into())
            }
        }
        Err(error) => Err(format!("the address cannot be read: {error}")),
    }
}

fn check_absolute(url: &Url) -> Result<(), String> {
    match url.scheme() {
        "http" | "https" => Ok(()),
        "file" if url.to_file_path().is_ok() => Ok(()),
        "file" => Err("the address names no file on this machine".into()),
        other => Err(format!("the scheme '{other}' is not http, https or file")),
    }
}

/// `%2e` is looked at too, because URL resolution takes `%2e%2e` for `..`.
fn stays_below(reference: &str) -> bool {
    let path = reference.split(['?', '#']).next().unwrap_or(reference);
    let plain = path.to_ascii_lowercase().replace("%2e", ".").replace("%2f", "/").replace("%5c", "\\");
    crate::release::info::is_safe_relative(&plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_kept_or_refused() {
        for (text, kept) in [
            ("https://h/x.bundle", "https://h/x.bundle"),
            ("http://h:8080/x?sig=1", "http://h:8080/x?sig=1"),
            ("file:///srv/x.bundle", "file:///srv/x.bundle"),
            ("x.bundle", "x.bundle"),
            ("../x.bundle", "../x.bundle"),
            ("./x.bundle", "x.bundle"),
            ("1.0.0/x+1.bundle?sig=a/../b", "1.0.0/x+1.bundle?sig=a/../b"),
        ] {
            assert_eq!(check(text).as_deref(), Ok(kept));
        }
        for text in [
            "",
            "..",
            "../../x",
            "a/../../x",
            "%2e%2e/x",
            "a/%2E./x",
            "..%2fx",
            "/etc/passwd",
            "//host/x",
            "a//b",
            "a\\b",
            "ftp://h/x",
            "javascript:1",
            "file://host/x",
            "http://",
            "https://h:99999/x",
            "x\n",
            "./",
            "?x",
        ] {
            assert!(check(text).is_err(), "{text:?}");
        }
    }
}
