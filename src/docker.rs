//! The Docker adapter: Compose compiles, the engine's API acts.
//!
//! [`Compose`] runs the `docker compose` command line, which alone interprets Compose files, and gives a
//! [`Model`]: data about services, volumes and networks. [`Engine`] speaks the engine's API and does
//! everything that changes the running stack: images, containers, health, probes, volumes. Nothing here
//! knows of releases on disk, plans or journals.

mod bridge;
mod compose;
mod containers;
mod engine;
mod exec;
mod failure;
mod health;
mod helper;
mod images;
mod load;
mod model;
mod ports;
mod probes;
mod project;
mod settle;
mod volumes;

pub use bridge::StreamReader;
pub use compose::{Compiled, Compose};
pub use containers::{Container, Health, Mount, MountKind, State};
pub use engine::{Engine, endpoint};
pub use health::{ReadyPolicy, Watched};
pub use helper::{DATA as HELPER_DATA, Helper, HelperUse, Program};
pub use images::ImageFacts;
pub use model::{Model, Resource, Service, ServiceMount, SingleReason, network_changes, volume_changes};
pub use ports::Published;
pub use volumes::Volume;
