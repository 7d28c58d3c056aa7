//! `client plan`.

use crate::cli::args::Wanted;
use crate::cli::context::Context;
use crate::cli::{backend, view};
use crate::fault::Result;
use crate::upgrade::UpgradeOptions;

use super::Answer;

/// Prints the plan and changes nothing.
pub async fn run(wanted: Wanted, context: &Context) -> Result<Answer> {
    let report = backend::plan(&context.installation()?, &options(wanted), &context.progress).await?;
    Answer::report(&report, view::plan::render(&report, context.out))
}

/// What the layer below calls it.
pub fn options(wanted: Wanted) -> UpgradeOptions {
    UpgradeOptions {
        target: wanted.target,
        force_full: wanted.force_full,
        bundle: wanted.bundle,
        force: wanted.force,
    }
}
