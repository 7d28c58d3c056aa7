//! `client backup …`.

use serde::Serialize;

use crate::cli::args::BackupCommand;
use crate::cli::context::Context;
use crate::cli::view::backup::{BackupDetail, BackupView, CopyView};
use crate::cli::view::{self, Paint};
use crate::cli::{backend, consent};
use crate::fault::Result;
use crate::messages::Say;
use crate::messages::cli::Words;
use crate::progress::Step;
use crate::upgrade::{Installation, RestoreOptions};

use super::{Answer, whole_id};

#[derive(Serialize)]
struct List<'a> {
    schema: u32,
    backups: &'a [BackupView],
}

#[derive(Serialize)]
struct Copies<'a> {
    schema: u32,
    copies: &'a [CopyView],
}

#[derive(Serialize)]
struct One<'a> {
    schema: u32,
    #[serde(flatten)]
    backup: &'a BackupView,
}

#[derive(Serialize)]
struct Detail<'a> {
    schema: u32,
    #[serde(flatten)]
    backup: &'a BackupDetail,
}

/// Makes, shows, restores or removes backups.
pub async fn run(command: BackupCommand, context: &Context) -> Result<Answer> {
    let installation = context.installation()?;
    let progress = &context.progress;
    match command {
        BackupCommand::Create => {
            let backup = backend::backup_create(&installation, progress).await?;
            one(&backup, Words::BackupMade { id: &backup.id }, context)
        }
        BackupCommand::List => {
            let backups = backend::backup_list(&installation).await?;
            Answer::report(&List { schema: 1, backups: &backups }, view::backup::list(&backups, context.out))
        }
        BackupCommand::Show { id } => {
            let backup = backend::backup_show(&installation, &whole(&id, &installation).await?).await?;
            let text = view::backup::detail(&backup, context.out);
            Answer::report(&Detail { schema: 1, backup: &backup }, text)
        }
        BackupCommand::Verify { id } => {
            let id = whole(&id, &installation).await?;
            let backup = backend::backup_verify(&installation, &id).await?;
            one(&backup, Words::BackupIntact { id: &backup.id }, context)
        }
        BackupCommand::Restore { id, only, to: Some(to), .. } => {
            let (id, options) = (whole(&id, &installation).await?, RestoreOptions { only, force: false });
            let (backup, warnings) =
                backend::backup_extract(&installation, &id, &options, &to, progress).await?;
            for text in warnings {
                progress.warning(Step::RollingBack, Say::Warning { text });
            }
            one(&backup, Words::BackupExtracted { id: &backup.id, to: &to.display().to_string() }, context)
        }
        BackupCommand::Restore { id, only, to: None, yes, force } => {
            let (id, told) = restorable(&id, yes, &installation, context).await?;
            let options = RestoreOptions { only, force: force || told };
            let outcome = backend::backup_restore(&installation, &id, &options, progress).await?;
            Ok(Answer::Change(Box::new(outcome)))
        }
        BackupCommand::Copy => {
            let copied = backend::backup_copy(&installation, progress).await?;
            let (count, to) = (copied.len().to_string(), &installation.settings.backup.copy.to);
            let text = said(Words::BackupsCopied { count: &count, to }, context);
            Answer::report(&Copies { schema: 1, copies: &copied }, text)
        }
        BackupCommand::Import { file, identity } => {
            let backup = backend::backup_import(&installation, &file, identity.as_deref()).await?;
            one(&backup, Words::BackupImported { id: &backup.id }, context)
        }
        BackupCommand::Delete { id, yes } => {
            let id = agreed(&id, yes, "backup delete", |id| Words::AskDelete { id }, &installation, context)
                .await?;
            let backup = backend::backup_delete(&installation, &id).await?;
            one(&backup, Words::BackupDeleted { id: &backup.id }, context)
        }
        BackupCommand::Prune => {
            let deleted = backend::backup_prune(&installation, progress).await?;
            let count = deleted.len().to_string();
            let mut text = said(Words::BackupsPruned { count: &count }, context);
            if !deleted.is_empty() {
                text.push_str(&view::backup::list(&deleted, context.out));
            }
            Answer::report(&List { schema: 1, backups: &deleted }, text)
        }
    }
}

/// The whole ID, once there is consent to its restore; and whether whoever agreed was told that the data is of a newer
/// release.
async fn restorable(
    given: &str,
    yes: bool,
    installation: &Installation,
    context: &Context,
) -> Result<(String, bool)> {
    if yes {
        return Ok((whole(given, installation).await?, false));
    }
    consent::must_be_possible(context, "backup restore")?;
    let id = whole(given, installation).await?;
    let newer = backend::newer_data(installation, &id)?;
    let summary = newer.as_ref().map(|fault| fault.message(context.talk.lang) + "\n").unwrap_or_default();
    let question = context.talk.say(Words::AskRestore { id: &id });
    consent::ask(context, "backup restore", &summary, &question).await?;
    Ok((id, newer.is_some()))
}

/// The whole ID, once there is consent to what the command does with that backup.
async fn agreed(
    given: &str,
    yes: bool,
    what: &str,
    question: impl for<'a> Fn(&'a str) -> Words<'a>,
    installation: &Installation,
    context: &Context,
) -> Result<String> {
    if yes {
        return whole(given, installation).await;
    }
    consent::must_be_possible(context, what)?;
    let id = whole(given, installation).await?;
    consent::ask(context, what, "", &context.talk.say(question(&id))).await?;
    Ok(id)
}

async fn whole(given: &str, installation: &Installation) -> Result<String> {
    let backups = backend::backup_list(installation).await?;
    Ok(whole_id(given, backups.iter().map(|backup| backup.id.as_str())).to_owned())
}

fn one(backup: &BackupView, words: Words<'_>, context: &Context) -> Result<Answer> {
    Answer::report(&One { schema: 1, backup }, said(words, context))
}

fn said(words: Words<'_>, context: &Context) -> String {
    context.out.line(Paint::Good, &context.out.say(words)) + "\n"
}
