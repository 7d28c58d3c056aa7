//! A program of ours beside a service, with one of its volumes.
//!
//! The engine's archive API can put files into a volume and cannot take any away. Where the volume is not a folder of
//! this machine, somebody has to do that in a container; and an image need not hold a shell. So this very program,
//! with the libraries it was started with, is put into a container made from the service's own image, which is in the
//! engine and of its architecture for sure.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};
use std::process::Command;

use bollard::container::{AttachContainerResults, LogOutput};
use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig, Mount, MountType, MountVolumeOptions,
};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, WaitContainerOptions,
};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::mpsc;

use super::bridge::{Output, PIECES, converse};
use super::{Engine, StreamReader};
use crate::fault::{Code, Fault, IoContext, Result};

/// Where the volume is in the helper's container.
pub const DATA: &str = "/compose-upgrade-data";
/// Where the program is.
const HOME: &str = ".compose-upgrade";
/// This program, also when its file was replaced meanwhile.
const SELF: &str = "/proc/self/exe";

/// The program and what it needs to run elsewhere.
#[derive(Debug, Clone)]
pub struct Program {
    /// The loader; none where the program is static.
    loader: Option<PathBuf>,
    /// Name and file of each library, the loader included.
    libraries: Vec<(String, PathBuf)>,
}

impl Program {
    /// This program. An error where it could not run in this engine.
    pub fn own(engine: &Engine) -> Result<Self> {
        let here = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        if engine.arch() != here {
            let cause = format!(
                "it is on a machine of another architecture ({}), where this client cannot replace data; run it on the \
                 engine's own machine",
                engine.arch()
            );
            return Err(Fault::new(Code::RestoreFailed, engine.endpoint(), cause));
        }
        if cfg!(target_feature = "crt-static") {
            return Ok(Self { loader: None, libraries: Vec::new() });
        }
        let asked = Command::new(SELF).env("LD_TRACE_LOADED_OBJECTS", "1").output().at(SELF)?;
        read_trace(&String::from_utf8_lossy(&asked.stdout)).ok_or_else(|| {
            let cause = "its libraries cannot be found; run this client as root on the engine's own machine";
            Fault::new(Code::RestoreFailed, SELF, cause)
        })
    }

    fn argv(&self, arguments: &[&str]) -> Vec<String> {
        let program = format!("/{HOME}/client");
        let mut argv: Vec<String> = match self.loader.as_ref().and_then(|path| path.file_name()) {
            Some(loader) => {
                let loader = format!("/{HOME}/lib/{}", loader.to_string_lossy());
                vec![loader, "--library-path".into(), format!("/{HOME}/lib"), program]
            }
            None => vec![program],
        };
        argv.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        argv
    }

    /// As the engine takes it.
    fn tar(&self) -> Result<impl Read + Send + use<>> {
        let mut all: Box<dyn Read + Send> = Box::new(io::empty());
        for folder in [HOME.to_owned(), format!("{HOME}/lib")] {
            all = Box::new(all.chain(Cursor::new(header(
                &format!("{folder}/"),
                0,
                tar::EntryType::Directory,
            )?)));
        }
        let own = ("client".to_owned(), PathBuf::from(SELF));
        let libraries = self.libraries.iter().map(|(name, path)| (format!("lib/{name}"), path.clone()));
        for (name, path) in std::iter::once(own).chain(libraries) {
            let file = File::open(&path).at(&path)?;
            let size = file.metadata().at(&path)?.len();
            let header = header(&format!("{HOME}/{name}"), size, tar::EntryType::Regular)?;
            let padding = vec![0; (size.wrapping_neg() % 512) as usize];
            all = Box::new(all.chain(Cursor::new(header)).chain(file.take(size)).chain(Cursor::new(padding)));
        }
        Ok(all.chain(Cursor::new(vec![0; 1024])))
    }
}

/// What the loader says: `libc.so.6 => /lib/libc.so.6 (0x…)`, `/lib64/ld-linux-x86-64.so.2 (0x…)`.
fn read_trace(text: &str) -> Option<Program> {
    let mut program = Program { loader: None, libraries: Vec::new() };
    for line in text.lines().map(|line| line.trim().split(" (0x").next().unwrap_or_default()) {
        let (name, path) = line.split_once(" => ").unwrap_or((line, line));
        if !path.starts_with('/') {
            continue;
        }
        let path = PathBuf::from(path);
        let name = Path::new(name).file_name()?.to_string_lossy().into_owned();
        if name.starts_with("ld-") || name.starts_with("ld.") {
            program.loader = Some(PathBuf::from(&name));
        }
        program.libraries.push((name, path));
    }
    program.loader.is_some().then_some(program)
}

fn header(path: &str, size: u64, kind: tar::EntryType) -> Result<Vec<u8>> {
    let mut header = tar::Header::new_gnu();
    header.set_path(path).at(path)?;
    header.set_entry_type(kind);
    header.set_mode(0o755);
    header.set_size(size);
    header.set_cksum();
    Ok(header.as_bytes().to_vec())
}

/// What a helper does with the volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HelperUse {
    /// It only reads.
    Read,
    /// It replaces its content.
    Write,
}

/// The container, made and not running.
pub struct Helper<'a> {
    engine: &'a Engine,
    name: String,
}

impl<'a> Helper<'a> {
    /// Makes it: `program` with `arguments`, beside the container `beside`, with `volume` at [`DATA`]. One of the same
    /// name that a killed process left is removed, with whatever it is doing.
    pub async fn make(
        engine: &'a Engine,
        name: String,
        beside: &str,
        volume: &str,
        program: &Program,
        arguments: &[&str],
        what: HelperUse,
    ) -> Result<Self> {
        let helper = Self { engine, name };
        engine.remove(&helper.name, true).await?;
        let image = match engine.container(beside).await? {
            Some(container) => container.image_id,
            None => return Err(Fault::new(Code::ContainerFailed, beside, "it is gone")),
        };
        let mount = Mount {
            target: Some(DATA.into()),
            source: Some(volume.into()),
            typ: Some(MountType::VOLUME),
            read_only: Some(what == HelperUse::Read),
            // An empty volume must not be filled with what the image has there.
            volume_options: Some(MountVolumeOptions { no_copy: Some(true), ..Default::default() }),
            ..Default::default()
        };
        let body = ContainerCreateBody {
            image: Some(image),
            user: Some("0:0".into()),
            entrypoint: Some(program.argv(arguments)),
            cmd: Some(Vec::new()),
            open_stdin: Some(what == HelperUse::Write),
            stdin_once: Some(what == HelperUse::Write),
            // What the image sets for its own programs is not meant for this one.
            env: Some(vec!["LD_PRELOAD=".into(), "LD_LIBRARY_PATH=".into()]),
            working_dir: Some("/".into()),
            healthcheck: Some(HealthConfig { test: Some(vec!["NONE".into()]), ..Default::default() }),
            host_config: Some(HostConfig {
                mounts: Some(vec![mount]),
                network_mode: Some("none".into()),
                // What it reads would be kept a second time, in the engine's log.
                log_config: Some(HostConfigLogConfig { typ: Some("none".into()), ..Default::default() }),
                ..Default::default()
            }),
            ..Default::default()
        };
        let options = CreateContainerOptionsBuilder::default().name(&helper.name).build();
        let created = engine.docker.create_container(Some(options), body).await;
        created.map_err(|error| engine.fault_as(Code::ContainerFailed, &helper.name, error))?;
        engine.put_archive(&helper.name, "/", program.tar()?).await?;
        Ok(helper)
    }

    /// Runs the program with `input` on its standard input, to its end; what it said where it failed. The container is
    /// removed.
    pub async fn feed(self, input: impl Read + Send + 'static) -> Result<()> {
        let (engine, name) = (self.engine, self.name.as_str());
        let options = AttachContainerOptionsBuilder::default()
            .stream(true)
            .stdin(true)
            .stdout(true)
            .stderr(true)
            .build();
        let docker = engine.patient(super::engine::UNLIMITED);
        let attached = docker.attach_container(name, Some(options)).await;
        let AttachContainerResults { output, input: to } =
            attached.map_err(|error| engine.fault(name, error))?;
        engine.start(name).await?;
        let mut said = String::new();
        let hear = |piece: Bytes| said.push_str(&String::from_utf8_lossy(&piece));
        let ended = match converse((output, to), input, engine, name, hear).await {
            Ok(fed) => ended_well(engine, name, Code::RestoreFailed, &said).await.map(|()| fed),
            Err(cut_off) => Err(cut_off),
        };
        engine.remove(name, true).await?;
        ended?.map_err(|error| {
            Fault::new(Code::RestoreFailed, name, format!("it did not take all of its input: {error}"))
        })
    }

    /// Runs the program and gives what it writes on its standard output; that the program failed is an error at the end of
    /// it. The container is removed then, or when nobody reads any more.
    pub async fn stream(self) -> Result<StreamReader> {
        let engine = self.engine.clone();
        let name = self.name;
        let options = AttachContainerOptionsBuilder::default().stream(true).stdout(true).stderr(true).build();
        let docker = engine.patient(super::engine::UNLIMITED);
        let attached = docker.attach_container(&name, Some(options)).await;
        let mut output = attached.map_err(|error| engine.fault(&name, error))?.output;
        engine.start(&name).await?;
        let (sender, pieces) = mpsc::channel(PIECES);
        tokio::spawn(async move {
            let ended = forward(&engine, &name, &mut output, &sender).await;
            let removed = engine.remove(&name, true).await;
            if let Err(fault) = ended.and(removed) {
                // Nobody reads any more: then nobody wants to know either.
                let _gone = sender.send(Err(io::Error::other(fault))).await;
            }
        });
        Ok(StreamReader::of(pieces))
    }
}

/// Sends on what a helper writes, to its end; an error where it did not end well.
async fn forward(
    engine: &Engine,
    name: &str,
    output: &mut Output,
    to: &mpsc::Sender<io::Result<Bytes>>,
) -> Result<()> {
    let mut said = String::new();
    while let Some(piece) = output.next().await {
        match piece.map_err(|error| engine.fault(name, error))? {
            LogOutput::StdOut { message } => {
                if to.send(Ok(message)).await.is_err() {
                    return Ok(());
                }
            }
            other => said.push_str(&String::from_utf8_lossy(&other.into_bytes())),
        }
    }
    ended_well(engine, name, Code::BackupFailed, &said).await
}

/// An error of kind `code`, with what it `said`, where a helper did not end with 0.
async fn ended_well(engine: &Engine, name: &str, code: Code, said: &str) -> Result<()> {
    let docker = engine.patient(super::engine::UNLIMITED);
    let mut ended = std::pin::pin!(docker.wait_container(name, None::<WaitContainerOptions>));
    match ended.next().await {
        Some(Ok(_)) => Ok(()),
        Some(Err(bollard::errors::Error::DockerContainerWaitError { .. })) => {
            Err(Fault::new(code, name, said.trim()))
        }
        Some(Err(error)) => Err(engine.fault(name, error)),
        None => Err(Fault::new(code, name, "the engine did not say how it ended")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loader_tells_what_a_program_needs() {
        let program = read_trace(
            "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibgcc_s.so.1 => /lib/libgcc_s.so.1 (0x00007f)\n\
             \tlibc.so.6 => /lib/libc.so.6 (0x00007f)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n",
        )
        .unwrap();
        assert_eq!(program.loader, Some("ld-linux-x86-64.so.2".into()));
        let names: Vec<&str> = program.libraries.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["libgcc_s.so.1", "libc.so.6", "ld-linux-x86-64.so.2"]);
        let argv = program.argv(&["x"]).join(" ");
        assert!(argv.starts_with("/.compose-upgrade/lib/ld-linux-x86-64.so.2 --library-path"), "{argv}");
        assert!(read_trace("\tstatically linked\n").is_none());
    }
}
