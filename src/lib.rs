//! The upgrade agent for Docker Compose stacks.
//!
//! # Data flow
//!
//! A publisher packs a stack with [`publisher`] into a bundle. On a device, [`upgrade`] reads the manifest
//! ([`release`]), decides a strategy, plans every step as data, and a runner carries the plan out under a
//! journal in [`state`], using three adapters that know nothing of each other: [`transfer`] (verified
//! files from a source), [`docker`] (the engine and Compose) and [`backup`] (archives of the stack's data).
//! Everything that happens is told to a [`progress::Reporter`].
//!
//! # Layers
//!
//! Imports run downwards only; `tests/it/layering.rs` holds the same table and fails where one runs up:
//!
//! ```text
//! cli -> agent -> upgrade -> publisher -> {docker, transfer, backup} -> {release, progress}
//!     -> {state, layout, settings} -> durable -> {clock, fault, messages}
//! ```

pub mod agent;
pub mod backup;
pub mod cli;
pub mod clock;
pub mod docker;
pub mod durable;
pub mod exit;
pub mod fault;
pub mod layout;
pub mod messages;
pub mod progress;
pub mod publisher;
pub mod release;
pub mod settings;
pub mod state;
pub mod transfer;
pub mod upgrade;

pub use fault::{Code, Fault, Result};
