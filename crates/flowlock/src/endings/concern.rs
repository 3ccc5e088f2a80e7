//! [`Concern`]: which of the runs that must still be ended a caller must wait for.

use crate::id::Ticket;
use crate::name::{Name, RunId};
use crate::spec::Spec;
use crate::store::View;

/// The runs to be ended that concern a caller.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Concern<'c> {
    /// All.
    All,
    /// None.
    None,
    /// Those that may be in the way of a run with this id and these claims.
    Request(&'c RunId, &'c Spec),
    /// Those with this id.
    Run(&'c RunId),
    /// Those that claim one of these names, in any space.
    Names(&'c [Name]),
}

impl<'c> Concern<'c> {
    /// Those that a view would show, so that they are over in it. For later pages of a listing, those of
    /// the first page are already settled.
    pub(crate) fn of_view(view: &'c View) -> Self {
        match view {
            View::Runs { from, .. } if *from > Ticket(0) => Self::None,
            View::Records { after: Some(_), .. } => Self::None,
            View::Runs { .. } | View::Records { .. } | View::Namespace => Self::All,
            View::Run(run) => Self::Run(run),
            View::Attempt(attempt) => Self::Run(&attempt.id),
            View::Names(names) => Self::Names(names),
        }
    }

    /// `run` is `None` if only the run itself knows its id.
    pub(super) fn is(&self, run: Option<&RunId>, spec: &Spec) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Run(id) => Some(*id) == run,
            Self::Request(id, wanted) => Some(*id) == run || spec.claims.touch(&wanted.claims),
            Self::Names(names) => spec.claims.iter().any(|claim| names.contains(&claim.name)),
        }
    }
}
