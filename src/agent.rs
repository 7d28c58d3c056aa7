//! What the agent does of its own accord, beside the changes themselves.

pub mod report;
