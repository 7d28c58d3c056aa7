//! `client init`.

use crate::cli::args::InitArgs;
use crate::cli::backend;
use crate::cli::context::Context;
use crate::fault::{Code, Fault, IoContext, Result};
use crate::upgrade::InitOptions;

use super::Answer;

/// Installs a stack, or takes over one that runs.
pub async fn run(args: InitArgs, context: &Context) -> Result<Answer> {
    if let Some(file) = args.trust {
        return Err(Fault::new(Code::TrustUnsupported, file.display(), ""));
    }
    let options = InitOptions {
        root: std::path::absolute(&context.root).at(&context.root)?,
        project: args.project,
        source: args.source,
        insecure: args.insecure,
        bundle: args.bundle,
        adopt: args.adopt.zip(args.version),
    };
    Ok(Answer::Change(Box::new(backend::init(&options, &context.progress).await)))
}
