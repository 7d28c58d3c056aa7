//! placeholder until merged
use serde::{Deserialize, Serialize};
/// x
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operations {}
