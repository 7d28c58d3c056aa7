//! What copies are called: as the archive, with a number where that name is taken, and an ending where it is encrypted.

use crate::settings::ArchiveFormat;

/// What the name of an encrypted copy ends with.
pub(super) const AGE: &str = ".age";
/// Nothing takes that many names by accident.
const MOST: u32 = 100;

/// The names of a copy of the archive `file`, the best first.
pub(super) fn names_for(file: &str, sealed: bool) -> impl Iterator<Item = String> {
    let ending = if sealed { AGE } else { "" };
    let numbers = (1..MOST).map(|number| format!(".{number}"));
    std::iter::once(String::new()).chain(numbers).map(move |number| format!("{file}{number}{ending}"))
}

/// The archive that the copy `name` is of; none where no copy is called so.
pub(super) fn archive_of(name: &str) -> Option<&str> {
    let is_archive = |name: &str| ArchiveFormat::ALL.iter().any(|format| name.ends_with(format.ending()));
    let plain = name.strip_suffix(AGE).unwrap_or(name);
    if is_archive(plain) {
        return Some(plain);
    }
    let (file, number) = plain.rsplit_once('.')?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && is_archive(file)).then_some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_every_copy_leads_back_to_the_archive() {
        for (file, sealed) in [("shop-1.tar.gz", true), ("shop-1.tar.zst", false)] {
            for name in names_for(file, sealed) {
                assert_eq!(archive_of(&name), Some(file), "{name}");
            }
        }
        let sealed: Vec<_> = names_for("a.tar.gz", true).take(2).collect();
        assert_eq!(sealed, ["a.tar.gz.age", "a.tar.gz.1.age"]);
        for other in ["a", "a.zip", "a.tar.gz.", "a.tar.gz.part", "a.tar.gz.1x.age", "a.tar.gz.1.1"] {
            assert_eq!(archive_of(other), None, "{other}");
        }
    }
}
