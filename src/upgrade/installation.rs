//! An install root that is open: its paths, settings and state.

use std::path::Path;
use std::sync::Arc;

use crate::fault::{Code, Fault, IoContext, Result};
use crate::layout::Layout;
use crate::settings::Settings;
use crate::state::{StateLock, Store};

/// An installation.
pub struct Installation {
    /// Where things are.
    pub layout: Layout,
    /// `client.toml`.
    pub settings: Settings,
    /// `state.db`.
    pub store: Arc<Store>,
}

impl Installation {
    /// Opens the installation in `root`.
    pub fn open(root: &Path) -> Result<Self> {
        let root = root.canonicalize().at(root)?;
        let layout = Layout::new(&root);
        if !layout.settings().is_file() {
            return Err(Fault::new(Code::NotInitialised, root.display(), "client.toml is missing"));
        }
        let settings = Settings::load(&layout.settings())?;
        let store = Arc::new(Store::open(&layout.state_db())?);
        Ok(Self { layout, settings, store })
    }

    /// Takes the lock; `what` tells others what is being done.
    pub fn lock(&self, what: &str) -> Result<StateLock> {
        StateLock::acquire(&self.layout.state_lock(), what)
    }
}
