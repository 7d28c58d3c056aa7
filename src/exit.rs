//! The exit codes of `client`, chosen here and nowhere else.

use crate::fault::{Class, Fault};

/// Done, or nothing to do.
pub const OK: u8 = 0;
/// Failed before anything was changed.
pub const FAILED: u8 = 1;
/// The command line or the settings are wrong.
pub const USAGE: u8 = 2;
/// `check`: an upgrade is available.
pub const AVAILABLE: u8 = 10;
/// Refused by policy.
pub const POLICY: u8 = 11;
/// The upgrade failed and the stack is back on the old version.
pub const ROLLED_BACK: u8 = 20;
/// The upgrade failed and the stack is on the factory version.
pub const FACTORY: u8 = 21;
/// Rollback could not finish: a person is needed.
pub const NEEDS_PERSON: u8 = 22;
/// Another process holds the lock.
pub const LOCKED: u8 = 30;
/// What was received cannot be trusted.
pub const TRUST: u8 = 40;
/// Interrupted; the next run continues.
pub const INTERRUPTED: u8 = 130;

/// Where a failed change left the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// The running stack was never touched.
    Untouched,
    /// It was touched and is back on the version before.
    RolledBack,
    /// It is on the factory version.
    Factory,
    /// It is neither; a person is needed.
    Stuck,
}

/// The exit code for a change that failed with `fault` and left the stack as `disposition` says.
pub fn of_failure(fault: &Fault, disposition: Disposition) -> u8 {
    match disposition {
        Disposition::Untouched => of_fault(fault),
        Disposition::RolledBack => ROLLED_BACK,
        Disposition::Factory => FACTORY,
        Disposition::Stuck => NEEDS_PERSON,
    }
}

/// The exit code for a command that failed with `fault` and changed nothing.
pub fn of_fault(fault: &Fault) -> u8 {
    of_class(fault.code().class())
}

/// The exit code for a failure of this class that changed nothing.
pub fn of_class(class: Class) -> u8 {
    match class {
        Class::Failed => FAILED,
        Class::Usage => USAGE,
        Class::Policy => POLICY,
        Class::Trust => TRUST,
        Class::Locked => LOCKED,
        Class::Interrupted => INTERRUPTED,
        Class::NeedsPerson => NEEDS_PERSON,
    }
}
