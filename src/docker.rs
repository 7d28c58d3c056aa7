//! The engine and Compose: bollard for everything that changes the running stack, the Compose command as the
//! only interpreter of Compose files.

mod bridge;
mod compose;
mod containers;
mod engine;
mod health;
mod images;
mod model;
mod ports;
mod probes;
mod storage;

pub use compose::Compose;
pub use containers::Container;
pub use engine::Engine;
pub use health::Stable;
pub use model::{Changed, HostMount, Model, ModelService};
pub use ports::Published;
pub use storage::Volume;
