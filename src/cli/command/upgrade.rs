//! `client upgrade`.

use crate::cli::args::UpgradeArgs;
use crate::cli::context::Context;
use crate::cli::{backend, consent, view};
use crate::fault::Result;
use crate::messages::cli::Words;

use super::{Answer, check, plan};

/// Upgrades. A person is shown the plan and asked; a script asked for it by running the command.
pub async fn run(args: UpgradeArgs, context: &Context) -> Result<Answer> {
    if args.check {
        return check::run(context).await;
    }
    if args.dry_run {
        return plan::run(args.wanted, context).await;
    }
    let mut installation = context.installation()?;
    if let Some(rate) = args.limit_rate {
        installation.settings.download.limit_to(rate);
    }
    let options = plan::options(args.wanted);
    if args.download_only {
        let outcome = backend::download(&installation, &options, &context.progress).await;
        return Ok(Answer::Change(Box::new(outcome)));
    }
    if context.interactive && !args.yes {
        let plan = backend::plan(&installation, &options, &context.progress).await?;
        // Nothing to do needs no consent; the upgrade then says so itself.
        if plan.strategy != "none" {
            let summary = view::plan::summary(&plan, context.talk) + &view::plan::edits(&plan, context.talk);
            consent::ask(context, "upgrade", &summary, &context.talk.say(Words::AskUpgrade)).await?;
        }
    }
    let outcome = backend::upgrade(&installation, &options, &context.progress).await;
    Ok(Answer::Change(Box::new(outcome)))
}
