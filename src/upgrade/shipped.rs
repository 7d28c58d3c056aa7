//! Compose files that do not compile: a release is read as it was shipped where somebody edited it into something that
//! Compose does not understand. That edit never ran, so nothing that runs is described wrongly.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::edits;
use super::releases::{self, PRISTINE};
use crate::docker::{Compiled, Compose};
use crate::fault::{Code, Fault, IoContext, Result};
use crate::layout::Layout;
use crate::messages::Say;
use crate::release::ReleaseInfo;

/// Compose files of a release folder, compiled as often as is needed.
pub struct Reader<'a> {
    compose: &'a Compose,
    project: &'a str,
    folder: &'a Path,
    /// The place where a release lives when it runs.
    current: &'a Path,
    /// The files that are read.
    files: Vec<String>,
}

impl<'a> Reader<'a> {
    /// For the release `info` in `folder`.
    pub fn new(
        compose: &'a Compose,
        project: &'a str,
        folder: &'a Path,
        info: &ReleaseInfo,
        current: &'a Path,
    ) -> Self {
        Self { compose, project, folder, current, files: info.compose.clone() }
    }

    /// Compiles them; in their shipped form where they do not compile and were edited, which is then said.
    pub async fn compile(&mut self) -> Result<(Compiled, Option<Say>)> {
        let fault = match self.read(&self.files).await {
            Err(fault) if matches!(fault.code(), Code::ComposeInvalid | Code::VariableUnset) => fault,
            other => return Ok((other?, None)),
        };
        let edited = edited(self.folder, &self.files)?;
        if edited.is_empty() {
            return Err(fault);
        }
        let shipped = |file: &String| match edited.contains(file) {
            true => format!("{PRISTINE}/{file}"),
            false => file.clone(),
        };
        let files: Vec<String> = self.files.iter().map(shipped).collect();
        // That what was shipped does not compile here either says less than what stands there now.
        let Ok(compiled) = self.read(&files).await else { return Err(fault) };
        self.files = files;
        let paths: Vec<String> =
            edited.iter().map(|file| self.folder.join(file).display().to_string()).collect();
        let say = Say::CompiledAsShipped { paths: paths.join(", "), cause: fault.detail().to_owned() };
        Ok((compiled, Some(say)))
    }

    /// The same with the services of every profile, from the files that [`Reader::compile`] could read.
    pub async fn compile_every(&self) -> Result<Compiled> {
        self.compose.compile_every(self.project, self.folder, &self.files, self.current).await
    }

    async fn read(&self, files: &[String]) -> Result<Compiled> {
        self.compose.compile(self.project, self.folder, files, self.current).await
    }
}

/// Those of `files` in a release folder that are not what was shipped.
fn edited(folder: &Path, files: &[String]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for file in files {
        let (own, shipped) = (read(&folder.join(file))?, read(&folder.join(PRISTINE).join(file))?);
        if shipped.is_some() && own != shipped {
            found.push(file.clone());
        }
    }
    Ok(found)
}

/// Keeps the edited Compose files of a release aside and puts the shipped ones in their place; the edited ones.
pub fn put_back(layout: &Layout, info: &ReleaseInfo) -> Result<Vec<String>> {
    let folder = layout.release(&info.version.to_string());
    let edited = edited(&folder, &info.compose)?;
    for file in &edited {
        let (own, shipped) = (folder.join(file), folder.join(PRISTINE).join(file));
        match edits::set_aside(layout, &info.version, &folder, file)? {
            Some(_) => releases::replace_file(&own, &fs::read(&shipped).at(&shipped)?)?,
            None => drop(fs::copy(&shipped, &own).at(&own)?),
        }
    }
    Ok(edited)
}

fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Fault::io(path, error)),
    }
}
