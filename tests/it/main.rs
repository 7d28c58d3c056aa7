//! One integration binary: what a user would notice.

mod backup;
mod bad_input;
mod bundle;
mod cli;
mod cli_terminal;
mod crash;
mod docker_compose;
mod docker_containers;
mod docker_engine;
mod docker_health;
mod docker_images;
mod frozen;
mod layering;
mod lost_state;
mod report;
mod support;
mod transfer;
mod upgrade;
mod ways;
