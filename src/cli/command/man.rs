//! `client man`.

use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use crate::cli::args::Cli;
use crate::fault::{IoContext, Result};

use super::Answer;

/// The manual pages of the whole tree, one after another, or one file each in `out`.
pub fn run(out: Option<&Path>) -> Result<Answer> {
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    if let Some(folder) = out {
        std::fs::create_dir_all(folder).at(folder)?;
        clap_mangen::generate_to(root, folder).at(folder)?;
        return Ok(Answer::Raw(Vec::new()));
    }
    let mut pages = Vec::new();
    render(root, &mut pages).at("stdout")?;
    Ok(Answer::Raw(pages))
}

fn render(command: Command, pages: &mut Vec<u8>) -> std::io::Result<()> {
    let children: Vec<Command> = command.get_subcommands().cloned().collect();
    // After `build` the display name is the whole path (`client-backup-list`), as the page's title wants it.
    let title = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    Man::new(command.name(title)).render(pages)?;
    children.into_iter().try_for_each(|child| render(child, pages))
}
