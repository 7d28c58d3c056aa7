//! Where a step and a change stand, and what may follow. Pure.

/// What is written about a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// The effect is about to happen.
    Started,
    /// The effect happened.
    Done,
    /// The effect failed (it may have happened in part).
    Failed,
    /// The effect is about to be undone.
    UndoStarted,
    /// The effect is undone.
    Undone,
    /// Undoing failed.
    UndoFailed,
}

impl Mark {
    pub(super) const ALL: [Self; 6] =
        [Self::Started, Self::Done, Self::Failed, Self::UndoStarted, Self::Undone, Self::UndoFailed];

    /// The stored name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::UndoStarted => "undo_started",
            Self::Undone => "undone",
            Self::UndoFailed => "undo_failed",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mark| mark.name() == name)
    }
}

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StepState {
    /// Nothing happened yet.
    #[default]
    Pending,
    /// The effect may have happened.
    Started,
    /// The effect happened.
    Done,
    /// The effect failed, perhaps in part.
    Failed,
    /// The undoing may have happened.
    Undoing,
    /// As if it had never been.
    Undone,
    /// The undoing failed, perhaps in part.
    UndoFailed,
}

impl StepState {
    /// The state after `mark`, or none where the mark cannot follow.
    ///
    /// `Started` may follow itself, and `UndoStarted` itself: a process that was killed in between repeats
    /// the step, which is why every effect is idempotent. It also follows `Failed`: after the commit there is only
    /// forward, and what failed is tried again.
    pub fn after(self, mark: Mark) -> Option<Self> {
        use StepState::*;
        match (self, mark) {
            (Pending | Started | Failed, Mark::Started) => Some(Started),
            (Started, Mark::Done) => Some(Done),
            (Started, Mark::Failed) => Some(Failed),
            (Started | Done | Failed | Undoing | UndoFailed, Mark::UndoStarted) => Some(Undoing),
            (Undoing, Mark::Undone) => Some(Undone),
            (Undoing, Mark::UndoFailed) => Some(UndoFailed),
            _ => None,
        }
    }

    /// Whether there may be an effect to undo.
    pub fn has_effect(self) -> bool {
        !matches!(self, Self::Pending | Self::Undone)
    }
}

/// Where a change stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeState {
    /// Going forward.
    Running,
    /// Going back.
    Undoing,
    /// Where it was asked to be.
    Completed,
    /// Back on the version before, after the stack had been touched.
    RolledBack,
    /// Failed before the stack was touched.
    Failed,
    /// It could not be undone; the factory release took over, in a change of its own.
    Escalated,
    /// A person went on with something else while it needed attention.
    Superseded,
    /// Neither forward nor back worked.
    NeedsAttention,
}

impl ChangeState {
    const ALL: [Self; 8] = [
        Self::Running,
        Self::Undoing,
        Self::Completed,
        Self::RolledBack,
        Self::Failed,
        Self::Escalated,
        Self::Superseded,
        Self::NeedsAttention,
    ];

    /// The stored and public name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Undoing => "undoing",
            Self::Completed => "completed",
            Self::RolledBack => "rolled_back",
            Self::Failed => "failed",
            Self::Escalated => "escalated",
            Self::Superseded => "superseded",
            Self::NeedsAttention => "needs_attention",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether a next run has to deal with it.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Running | Self::Undoing | Self::NeedsAttention)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transition_table_is_total_and_as_documented() {
        use StepState::*;
        let states = [Pending, Started, Done, Failed, Undoing, Undone, UndoFailed];
        let legal = [
            (Pending, Mark::Started, Started),
            (Started, Mark::Started, Started),
            (Failed, Mark::Started, Started),
            (Started, Mark::Done, Done),
            (Started, Mark::Failed, Failed),
            (Started, Mark::UndoStarted, Undoing),
            (Done, Mark::UndoStarted, Undoing),
            (Failed, Mark::UndoStarted, Undoing),
            (Undoing, Mark::UndoStarted, Undoing),
            (UndoFailed, Mark::UndoStarted, Undoing),
            (Undoing, Mark::Undone, Undone),
            (Undoing, Mark::UndoFailed, UndoFailed),
        ];
        for state in states {
            for mark in Mark::ALL {
                let expected =
                    legal.iter().find(|(s, m, _)| (*s, *m) == (state, mark)).map(|(_, _, next)| *next);
                assert_eq!(state.after(mark), expected, "{state:?} + {mark:?}");
            }
        }
    }
}
