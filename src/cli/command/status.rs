//! `client status`.

use crate::cli::context::Context;
use crate::cli::{backend, view};
use crate::fault::Result;

use super::Answer;

/// Versions and services.
pub async fn run(context: &Context) -> Result<Answer> {
    let status = backend::status(&context.installation()?).await?;
    Answer::report(&status, view::status::render(&status, context.out))
}
