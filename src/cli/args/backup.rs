//! `client backup …`.

use std::path::PathBuf;

use clap::Subcommand;

/// What to do with backups.
#[derive(Debug, Subcommand)]
pub enum BackupCommand {
    /// Make a backup of the stack's data now.
    Create,
    /// List the backups.
    List,
    /// Show the record of a backup and what is in it.
    Show {
        /// The backup; the beginning of its ID is enough.
        id: String,
    },
    /// Read a backup through and compare it with its recorded hash.
    Verify {
        /// The backup; the beginning of its ID is enough.
        id: String,
    },
    /// Bring back the data of a backup; what is there now is replaced.
    ///
    /// What holds the data is stopped, and the present data is backed up first. Asks for consent on a terminal;
    /// elsewhere --yes is required.
    #[command(
        after_long_help = "Examples:\n  client backup restore 20261121 --yes\n  client backup restore 20261121 --only pgdata\n  client backup restore 20261121 --to /tmp/look"
    )]
    Restore {
        /// The backup; the beginning of its ID is enough.
        id: String,
        /// Only this volume or path, or NAME/PATH inside one; may be repeated.
        #[arg(long, value_name = "NAME")]
        only: Vec<String>,
        /// Unpack into this folder instead; the stack goes on and nothing is replaced.
        #[arg(long, value_name = "DIR")]
        to: Option<PathBuf>,
        /// Do not ask for consent.
        #[arg(short, long)]
        yes: bool,
        /// Also where the data is of a newer release that migrates it.
        #[arg(long)]
        force: bool,
    },
    /// Copy all backups that have no copy yet to the folder or bucket of backup.copy in client.toml, and read the copies back.
    Copy,
    /// Take an archive or an encrypted copy of one in, for instance on a new machine; it is read through first.
    Import {
        /// The file, or s3://BUCKET/PREFIX/NAME, which is reached as backup.copy in client.toml says.
        file: PathBuf,
        /// A file with age identities, for an encrypted copy.
        #[arg(long, value_name = "FILE")]
        identity: Option<PathBuf>,
    },
    /// Delete a backup for good.
    ///
    /// Asks for consent on a terminal; elsewhere --yes is required.
    Delete {
        /// The backup; the beginning of its ID is enough.
        id: String,
        /// Do not ask for consent.
        #[arg(short, long)]
        yes: bool,
    },
    /// Delete the backups that the retention rules of client.toml no longer keep.
    Prune,
}
