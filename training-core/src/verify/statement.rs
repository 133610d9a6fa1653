//! Signed commitments, and the proof that somebody made two.
//!
//! A statement names its run and its round, so it cannot be used for another.
//! Two statements of one node for one run and round that differ are proof
//! against it for anybody, whoever shows them.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::round::NodeId;

/// A node's signed promise of a contribution. The node's name is its public
/// key, 64 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// Hash that names the run.
    pub run: Digest,
    /// The round.
    pub round: u64,
    /// Who promises.
    pub node: NodeId,
    /// What; see [`crate::local::commitment`].
    pub commitment: Digest,
    /// Ed25519 over [`Statement::message`], 64 bytes.
    pub signature: Vec<u8>,
}

/// Why a statement counts for nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// The node's name is not a public key.
    #[error("{0} is not an Ed25519 public key in hex")]
    Key(NodeId),
    /// The signature is not the node's over this.
    #[error("the signature of {0} does not hold")]
    Signature(NodeId),
    /// The two statements do not contradict each other.
    #[error("the two statements are not one node's about one round, or say the same")]
    NoContradiction,
}

/// The name of the node that holds `key`.
///
/// # Errors
/// Never in practice: 64 hex digits are a name.
pub fn node_of(key: &SigningKey) -> Result<NodeId, crate::round::RoundError> {
    NodeId::new(Digest(key.verifying_key().to_bytes()).to_string())
}

impl Statement {
    /// Signs a promise.
    ///
    /// # Errors
    /// As [`node_of`].
    pub fn sign(
        key: &SigningKey,
        run: Digest,
        round: u64,
        commitment: Digest,
    ) -> Result<Self, crate::round::RoundError> {
        let mut statement = Self {
            run,
            round,
            node: node_of(key)?,
            commitment,
            signature: Vec::new(),
        };
        statement.signature = key.sign(&statement.message()).to_bytes().to_vec();
        Ok(statement)
    }

    /// What is signed: a hash bound to its purpose and to every field.
    pub fn message(&self) -> [u8; 32] {
        Digest::derive(
            "plumbline 2026 training statement v1",
            &[
                &self.run.0,
                &self.round.to_le_bytes(),
                self.node.as_str().as_bytes(),
                &self.commitment.0,
            ],
        )
        .0
    }

    /// Checks the signature against the name.
    ///
    /// # Errors
    /// [`StatementError::Key`], [`StatementError::Signature`].
    pub fn verify(&self) -> Result<(), StatementError> {
        let no_key = || StatementError::Key(self.node.clone());
        let key: Digest = self.node.as_str().parse().map_err(|_| no_key())?;
        let key = VerifyingKey::from_bytes(&key.0).map_err(|_| no_key())?;
        let signature = Signature::from_slice(&self.signature);
        let holds = signature.is_ok_and(|s| key.verify_strict(&self.message(), &s).is_ok());
        holds
            .then_some(())
            .ok_or_else(|| StatementError::Signature(self.node.clone()))
    }
}

/// Two promises of one node for one round that differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Equivocation {
    /// One.
    pub first: Statement,
    /// The other.
    pub second: Statement,
}

impl Equivocation {
    /// Checks that the statements hold and contradict each other.
    ///
    /// # Errors
    /// [`StatementError`].
    pub fn prove(first: Statement, second: Statement) -> Result<Self, StatementError> {
        first.verify()?;
        second.verify()?;
        let same = first.run == second.run && first.round == second.round;
        if !same || first.node != second.node || first.commitment == second.commitment {
            return Err(StatementError::NoContradiction);
        }
        Ok(Self { first, second })
    }

    /// Whose it is.
    pub fn node(&self) -> &NodeId {
        &self.first.node
    }
}
