//! [`Parent`]: the run on whose behalf another run asks, and the proof of it.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};
use sha1::Digest as _;

use crate::id::Attempt;
use crate::name::RunId;

/// The text in front of the nonce and the id of the run, from which a proof is made. The script of a
/// server's store has the same text.
const PROOF_OF: &str = "flowlock parent ";
/// The length of a proof: the hexadecimal digits of a SHA-1.
pub(crate) const PROOF_LENGTH: usize = 40;

/// A run on whose behalf another run asks.
///
/// A child may pass writers that are queued for a name that its parent shares. So it is not enough to
/// name a parent: everybody can read run ids. The proof is derived from the parent's secret by a one-way
/// function. A process that has it can be a child of the run, but can neither renew nor end the run. A
/// request with a wrong proof is an ordinary one, without a parent.
///
/// ```
/// use flowlock::{Acquired, Flowlock, Parent};
///
/// let flowlock = Flowlock::open("memory:")?;
/// let outer = flowlock.job("outer").lock("x").acquire()?;
/// let handed_on = (outer.run_id().clone(), outer.as_parent().proof().to_owned()); // to another process
///
/// let parent = Parent::with_proof(handed_on.0, &handed_on.1)?;
/// let inner = flowlock.job("inner").lock("x").parent(parent).acquire();
/// assert!(matches!(inner, Err(flowlock::Error::Deadlock { .. })));
/// # Ok::<(), flowlock::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    run: RunId,
    proof: String,
}

impl Parent {
    /// Takes the proof that the parent's process passed on.
    ///
    /// # Errors
    /// If the proof is not 40 hexadecimal digits.
    pub fn with_proof(run: RunId, proof: &str) -> Result<Self, InvalidProof> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if proof.len() != PROOF_LENGTH || !proof.bytes().all(is_digit) {
            return Err(InvalidProof);
        }
        Ok(Self { run, proof: proof.to_owned() })
    }

    /// Returns the run's id.
    pub fn run(&self) -> &RunId {
        &self.run
    }

    /// Returns the proof, to pass on to processes that may ask on the run's behalf.
    pub fn proof(&self) -> &str {
        &self.proof
    }

    /// Returns whether this is the attempt that the parent names and proves.
    pub(crate) fn is(&self, attempt: &Attempt) -> bool {
        self.run == attempt.id && self.proof == proof_of(attempt)
    }
}

/// A text that is not the proof of a parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not {PROOF_LENGTH} hexadecimal digits")]
pub struct InvalidProof;

impl From<&Attempt> for Parent {
    fn from(attempt: &Attempt) -> Self {
        Self { run: attempt.id.clone(), proof: proof_of(attempt) }
    }
}

impl fmt::Debug for Parent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parent({:?}, …)", self.run)
    }
}

fn proof_of(attempt: &Attempt) -> String {
    let text = format!("{PROOF_OF}{:032x}{}", attempt.nonce.0, attempt.id.as_str());
    sha1::Sha1::digest(text).iter().fold(String::with_capacity(PROOF_LENGTH), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
