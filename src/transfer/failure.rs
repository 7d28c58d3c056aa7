//! How an attempt can fail, which decides what is tried next.

use std::time::Duration;

use crate::fault::{Code, Fault};

use super::location::Location;

/// Why an attempt brought no file.
#[derive(Debug)]
pub(super) enum Failure {
    /// It may work later, at the earliest after `wait` if the server said so.
    Passing { fault: Fault, wait: Option<Duration> },
    /// What was continued was of no use and is gone; try again from the first byte.
    StartOver(Fault),
    /// It will not work at this location. `absent`: because there is no such file.
    Refused { fault: Fault, absent: bool },
    /// It will not work at any location: the trouble is on this machine.
    Fatal(Fault),
}

impl Failure {
    /// An attempt that may be repeated.
    pub(super) fn passing(fault: Fault) -> Self {
        Self::Passing { fault, wait: None }
    }

    /// A location that is of no use.
    pub(super) fn refused(fault: Fault) -> Self {
        Self::Refused { fault, absent: false }
    }

    /// A server that said no at this address.
    pub(super) fn answered_no(at: &Location, cause: String, absent: bool, denied: bool) -> Self {
        let code = if denied && at.is_signed() { Code::LinkExpired } else { Code::SourceRefused };
        Self::Refused { fault: Fault::new(code, at, cause), absent }
    }

    /// A server that sends next to nothing.
    pub(super) fn trickle(at: &Location) -> Self {
        Self::passing(Fault::new(Code::DownloadFailed, at, "the server sent too little for too long"))
    }

    /// What is told when nothing else is tried.
    pub(super) fn into_fault(self) -> Fault {
        match self {
            Self::Passing { fault, .. } | Self::Refused { fault, .. } => fault,
            Self::StartOver(fault) | Self::Fatal(fault) => fault,
        }
    }

    /// From the HTTP client; `code` is what a failure that may pass is called. The client's own error names the
    /// whole address, secrets included, so that is cut off.
    pub(super) fn of_client(code: Code, at: &Location, error: reqwest::Error) -> Self {
        let error = error.without_url();
        if error.is_redirect() || error.is_builder() {
            return Self::refused(Fault::from_error(Code::SourceRefused, at, error));
        }
        let fault = if error.is_timeout() && !error.is_connect() {
            Fault::new(code, at, "the server sent nothing for too long")
        } else {
            Fault::from_error(code, at, error)
        };
        Self::passing(fault)
    }
}

impl From<Fault> for Failure {
    /// What `?` meets on the way are this machine's own troubles: files, disk, database.
    fn from(fault: Fault) -> Self {
        Self::Fatal(fault)
    }
}
