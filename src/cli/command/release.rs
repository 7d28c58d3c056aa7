//! `client release …`.

use crate::cli::args::ReleaseCommand;
use crate::cli::context::Context;
use crate::cli::{backend, view};
use crate::exit;
use crate::fault::Result;

use super::Answer;

/// Packs, publishes or inspects a release.
pub async fn run(command: ReleaseCommand, context: &Context) -> Result<Answer> {
    match command {
        ReleaseCommand::Build(args) => {
            let built = backend::release_build(&args).await?;
            Answer::report(&built, view::release::built(&built, context.out))
        }
        ReleaseCommand::Publish { out, to } => {
            let published = backend::release_publish(&out, &to).await?;
            Answer::report(&published, view::release::published(&published, context.out))
        }
        ReleaseCommand::Inspect { file } => {
            let (inspection, view) = backend::release_inspect(&file).await?;
            let exit_code = inspection.class.map_or(exit::OK, exit::of_class);
            Answer::report_with(&inspection, view::release::inspected(&view, context.out), exit_code)
        }
    }
}
