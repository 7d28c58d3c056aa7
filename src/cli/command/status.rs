//! `client status`.

use crate::cli::context::Context;
use crate::cli::{backend, view};
use crate::fault::Result;
use crate::upgrade::rebuild;

use super::Answer;

/// Versions and services.
pub async fn run(context: &Context) -> Result<Answer> {
    let installation = context.installation()?;
    let mut status = backend::status(&installation, context.talk.lang).await?;
    let untold = rebuild::untold(&installation)?;
    status.warnings.extend(untold.iter().map(|say| say.text(context.talk.lang)));
    Answer::report(&status, view::status::render(&status, context.out))
}
