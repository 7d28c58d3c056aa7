//! Upgrades, from the publisher's folder to the running stack: the real binary, engine and Compose.

mod data;
mod failing;
mod happy;
mod moving_tag;
mod patch;
mod rollback;
mod services;
mod single;
