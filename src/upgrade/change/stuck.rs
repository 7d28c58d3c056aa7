//! What is told where a change could neither be finished nor undone.

use crate::fault::{Code, Fault};
use crate::layout::Pointer;
use crate::messages::{Say, causes};
use crate::release::Version;
use crate::upgrade::installation::Installation;
use crate::upgrade::plan::Kind;
use crate::upgrade::world::World;
use crate::upgrade::{pointers, quarantine, releases};

/// The fault that a person has to deal with: everything that failed, and what to do about it.
pub fn stuck(world: &World<'_>, failures: &[Fault], first: &Fault) -> Fault {
    let lang = world.progress.lang();
    let causes: Vec<String> = failures.iter().map(|fault| fault.message(lang)).collect();
    let backup = world.facts().backup_id.clone().filter(|_| world.facts().data_unrestored);
    let failed = (world.plan.kind == Kind::Upgrade).then_some(&world.plan.to);
    let next = next_commands(world.installation, failed, backup);
    let (all, began) = (causes.join("; "), causes::first(lang));
    let cause = format!("{all}{began}{}\n{}", first.message(lang), next.text(lang));
    Fault::new(Code::RollbackFailed, world.project(), cause)
}

/// What a person can do where a change could neither be finished nor undone; `failed` is the version it led to, and
/// `backup` the one whose data should have come back.
pub fn next_commands(installation: &Installation, failed: Option<&Version>, backup: Option<String>) -> Say {
    let layout = &installation.layout;
    // What cannot be found out here is no reason to tell less of the rest.
    let current = pointers::read(layout, Pointer::Current).ok().flatten();
    let quarantined: Vec<String> =
        quarantine::list(installation).unwrap_or_default().into_iter().map(|entry| entry.version).collect();
    let mut kept = releases::versions(layout).unwrap_or_default();
    kept.retain(|version| {
        Some(version) != current.as_ref()
            && Some(version) != failed
            && !quarantined.contains(&version.to_string())
    });
    Say::NextCommands {
        root: shell_word(&layout.root().display().to_string()),
        project: installation.settings.project.clone(),
        backup,
        versions: kept.iter().rev().map(ToString::to_string).collect(),
    }
}

/// `text` as one word of a shell.
fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+:@%,=".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_can_be_pasted_into_a_shell() {
        for (path, word) in
            [("/srv/shop", "/srv/shop"), ("/srv/my shop", "'/srv/my shop'"), ("/it's", r"'/it'\''s'")]
        {
            assert_eq!(shell_word(path), word);
        }
    }
}
