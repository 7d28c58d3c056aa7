//! `client check`.

use crate::cli::context::Context;
use crate::cli::{backend, view};
use crate::exit;
use crate::fault::Result;

use super::Answer;

/// Asks the source; exit code 10 says that an upgrade is available.
pub async fn run(context: &Context) -> Result<Answer> {
    let report = backend::check(&context.installation()?, &context.progress).await?;
    let exit_code = if report.upgrade_available { exit::AVAILABLE } else { exit::OK };
    Answer::report_with(&report, view::check::render(&report, context.out), exit_code)
}
