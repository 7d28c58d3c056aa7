//! The engine's errors as faults.

use std::error::Error as StdError;

use bollard::errors::Error;

use super::Engine;
use crate::fault::{Code, Fault};

impl Engine {
    /// What went wrong while something was done to `object`: the engine being gone is a fault of its own.
    pub(super) fn fault(&self, object: &str, error: Error) -> Fault {
        self.fault_as(Code::EngineFailed, object, error)
    }

    /// As [`Engine::fault`], with a code that tells more where the engine did answer.
    pub(super) fn fault_as(&self, code: Code, object: &str, error: Error) -> Fault {
        match error {
            Error::DockerResponseServerError { message, .. } => Fault::new(code, object, message.trim()),
            Error::DockerStreamError { error } => Fault::new(code, object, error.trim()),
            Error::RequestTimeoutError => Fault::new(code, object, "the engine did not answer in time"),
            error if is_connection(&error) => {
                Fault::from_error(Code::EngineUnreachable, self.endpoint(), error)
            }
            error => Fault::from_error(code, object, error),
        }
    }
}

/// The HTTP status the engine refused with.
pub(super) fn status(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// `None` where the engine says that there is no such thing.
pub(super) fn unless_absent<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if status(&error) == Some(404) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the engine was not there, or went away before it had answered.
fn is_connection(error: &Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, NotFound, UnexpectedEof};
    let broken = [BrokenPipe, ConnectionRefused, ConnectionReset, NotFound, UnexpectedEof];
    match error {
        Error::SocketNotFoundError(_) => true,
        Error::HyperLegacyError { err } => err.is_connect() || err.source().is_some_and(breaks),
        Error::HyperResponseError { err } => breaks(err),
        Error::IOError { err } => broken.contains(&err.kind()),
        _ => false,
    }
}

/// A connection that ended in the middle; an upload that our own side could not go on with is none.
fn breaks(error: &(dyn StdError + 'static)) -> bool {
    let Some(hyper) = error.downcast_ref::<hyper::Error>() else {
        return false;
    };
    hyper.is_incomplete_message() || hyper.is_closed() || (hyper.is_canceled() && !hyper.is_user())
}
