//! Upgrades, from the publisher's folder to the running stack: the real binary, engine and Compose.

mod happy;
