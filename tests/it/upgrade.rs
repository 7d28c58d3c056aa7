//! Upgrades, from the publisher's folder to the running stack: the real binary, engine and Compose.

mod adopt;
mod data;
mod failing;
mod happy;
mod legacy;
mod moving_tag;
mod operator;
mod patch;
mod rollback;
mod services;
mod single;
mod sources;
