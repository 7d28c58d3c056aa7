//! `client doctor`.

use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::{backend, view};
use crate::exit;
use crate::fault::Result;
use crate::upgrade::Finding;

use super::Answer;

#[derive(Serialize)]
struct Findings<'a> {
    schema: u32,
    findings: &'a [Finding],
}

/// Looks at everything; exit code 1 says that something has to be mended.
pub async fn run(fix: bool, context: &Context) -> Result<Answer> {
    let findings = backend::doctor(&context.root, fix, &context.progress).await;
    let exit_code = if view::doctor::is_well(&findings) { exit::OK } else { exit::FAILED };
    let text = view::doctor::render(&findings, context.out);
    Answer::report_with(&Findings { schema: 1, findings: &findings }, text, exit_code)
}
