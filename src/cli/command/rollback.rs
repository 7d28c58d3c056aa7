//! `client rollback`.

use crate::cli::args::RollbackArgs;
use crate::cli::context::{Context, version_at};
use crate::cli::view::{Facts, Look, Paint};
use crate::cli::{backend, consent};
use crate::fault::Result;
use crate::layout::Pointer;
use crate::messages::cli::Words;
use crate::upgrade::{DataChoice, Installation, RollbackOptions, RollbackTarget};

use super::Answer;

/// Goes back, after consent.
pub async fn run(args: RollbackArgs, context: &Context) -> Result<Answer> {
    let options = RollbackOptions { to: args.to.clone(), data: data(&args) };
    let installation = context.installation()?;
    if !args.yes {
        let summary = summary(&options, &installation, context.talk);
        consent::ask(context, "rollback", &summary, &context.talk.say(Words::AskRollback)).await?;
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

fn summary(options: &RollbackOptions, installation: &Installation, look: Look) -> String {
    let named = |pointer| version_at(installation, pointer).unwrap_or_else(|| look.say(Words::Unknown));
    let from = named(Pointer::Current);
    let to = match &options.to {
        RollbackTarget::Previous => named(Pointer::Previous),
        RollbackTarget::Factory => named(Pointer::Factory),
        RollbackTarget::Version(version) => version.to_string(),
    };
    let data = match options.data {
        DataChoice::AsDeclared => Words::DataAsDeclared,
        DataChoice::Restore => Words::DataRestore,
        DataChoice::Keep => Words::DataKeep,
    };
    let heading = look.say(Words::RollbackHeading { from: &from, to: &to });
    let mut facts = Facts::new(look);
    facts.add(Words::Project, &installation.settings.project).add(Words::Data, look.say(data));
    format!("{}\n{}", look.paint(Paint::Strong, &heading), facts.render(2))
}
