//! `client release …`: for those who publish.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::release::Version;

/// What to do with releases.
#[derive(Debug, Subcommand)]
pub enum ReleaseCommand {
    /// Pack a release from a folder with Compose files and an optional release.toml.
    Build(BuildArgs),
    /// Add a packed release to a source folder that any static web server can serve.
    ///
    /// The newest release becomes the folder's manifest.json.
    #[command(after_long_help = "Example:\n  client release publish out/ --to /var/www/guestbook")]
    Publish {
        /// The folder 'client release build' wrote.
        #[arg(value_name = "OUT_DIR")]
        out: PathBuf,
        /// The source folder; created where missing.
        #[arg(long, value_name = "SOURCE_DIR")]
        to: PathBuf,
    },
    /// Show what is in a bundle.
    Inspect {
        /// The bundle.
        file: PathBuf,
    },
}

/// `client release build`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
The Compose files are read by 'docker compose config' and their images are taken from the local engine, so \
build or pull them before.

Examples:
  client release build --stack guestbook/ --version 1.1.0 --out out/
  client release build --stack guestbook/ --version 1.1.0.1 --out out/ \\
      --patch-from 1.1.0")]
pub struct BuildArgs {
    /// The folder with the Compose files.
    #[arg(long, value_name = "DIR")]
    pub stack: PathBuf,

    /// The version of the release.
    #[arg(long, value_name = "V")]
    pub version: Version,

    /// The folder the release is written to; created where missing.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,

    /// The architecture of the images (amd64, arm64 …) instead of the engine's own.
    #[arg(long, value_name = "A")]
    pub arch: Option<String>,

    /// Also write a patch package from this earlier version, which must be in --out.
    #[arg(long, value_name = "V")]
    pub patch_from: Option<Version>,

    /// Also deltas from the layers of this earlier version, which must be in --out: a machine that runs it fetches only
    /// what changed inside a layer. May be given several times.
    #[arg(long, value_name = "V")]
    pub delta_from: Vec<Version>,
}
