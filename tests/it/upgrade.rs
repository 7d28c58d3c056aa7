//! Upgrades, from the publisher's folder to the running stack: the real binary, engine and Compose.

mod adopt;
mod bucket;
mod consistency;
mod copies;
mod data;
mod failing;
mod happy;
mod install;
mod layers;
mod legacy;
mod levels;
mod moving_tag;
mod operator;
mod patch;
mod postgres;
mod quarantine;
mod repair;
mod restore;
mod rollback;
mod services;
mod single;
mod soak;
mod sources;
mod standing;
mod unreadable;
mod unwritten;
