//! `client rollback`.

use crate::cli::args::RollbackArgs;
use crate::cli::context::Context;
use crate::cli::{backend, consent, view};
use crate::fault::Result;
use crate::messages::cli::Words;
use crate::upgrade::{DataChoice, RollbackOptions};

use super::Answer;

/// Goes back, after the plan was shown and agreed to.
pub async fn run(args: RollbackArgs, context: &Context) -> Result<Answer> {
    let options = RollbackOptions { to: args.to.clone(), data: data(&args) };
    let installation = context.installation()?;
    if args.dry_run {
        let plan = backend::rollback_plan(&installation, &options, &context.progress).await?;
        return Answer::report(&plan, view::plan::render(&plan, context.out));
    }
    if !args.yes {
        consent::must_be_possible(context, "rollback")?;
        let plan = backend::rollback_plan(&installation, &options, &context.progress).await?;
        // Where one is there already, the rollback itself says so.
        if plan.strategy != "none" {
            let text = view::plan::render(&plan, context.talk);
            consent::ask(context, "rollback", &text, &context.talk.say(Words::AskRollback)).await?;
        }
    }
    let outcome = backend::rollback(&installation, &options, &context.progress).await;
    Ok(Answer::Change(Box::new(outcome)))
}

fn data(args: &RollbackArgs) -> DataChoice {
    match (args.restore_data, args.keep_data) {
        (true, _) => DataChoice::Restore,
        (false, true) => DataChoice::Keep,
        (false, false) => DataChoice::AsDeclared,
    }
}
