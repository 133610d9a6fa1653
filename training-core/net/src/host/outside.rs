//! What a host has to do with nodes elsewhere, and ends of runs that nobody waits for.

use std::collections::BTreeSet;
use std::sync::Arc;

use plumbline_training_core::digest::Digest;

use super::{Host, lock};
use crate::error::HostError;
use crate::remote::{Gateway, Link, ListenOptions, Network, identity};

impl Host {
    /// Lets nodes elsewhere reach the runs started from now on that allow it.
    /// The key that tells them whom they talk to is kept in the data folder.
    ///
    /// # Errors
    /// [`HostError::Peer`] when the key or the address cannot be had;
    /// [`HostError::Spec`] when it listens already.
    pub fn listen(&self, options: &ListenOptions) -> Result<(), HostError> {
        let key = identity(&self.shared.data_dir.join("coordinator.key"))?;
        let network = Arc::new(Network::listen(key, options)?);
        let listens = |_| HostError::Spec("this host listens already".into());
        self.shared.network.set(network).map_err(listens)
    }

    /// Closes the sockets without a word to anybody.
    #[cfg(test)]
    pub(crate) fn vanish(&self) {
        if let Some(network) = self.shared.network.get() {
            network.vanish();
        }
    }

    /// What a node elsewhere needs to join a run.
    ///
    /// # Errors
    /// [`HostError::UnknownRun`], [`HostError::NotReady`] before its data is
    /// prepared, [`HostError::Spec`] where nobody can join.
    pub fn ticket(&self, run: &str) -> Result<String, HostError> {
        let run = self.run(run)?;
        let network = self.shared.network.get();
        let open = || HostError::Spec(format!("nodes elsewhere cannot join run {:?}", run.spec.id));
        let network = network
            .filter(|_| run.spec.outside.is_some())
            .ok_or_else(open)?;
        if lock(&run.live).is_none() {
            let status = run.board.lock().status.as_str();
            return Err(HostError::NotReady(run.spec.id.clone(), status));
        }
        Ok(network.ticket(&run.spec.id).to_string())
    }

    /// Whether a run was asked to end and has not ended yet.
    pub fn is_ending(&self, run: &str) -> bool {
        self.run(run)
            .is_ok_and(|run| run.control.stopping() && !run.board.lock().status.is_over())
    }

    /// Lets in the nodes elsewhere that have these keys, and sends others away, where the run asks for stakes.
    ///
    /// # Errors
    /// [`HostError::UnknownRun`].
    pub fn admit(&self, run: &str, keys: BTreeSet<Digest>) -> Result<(), HostError> {
        self.run(run)?.control.admit(keys);
        Ok(())
    }

    /// The links to a run's nodes elsewhere.
    ///
    /// # Errors
    /// [`HostError::UnknownRun`].
    pub fn links(&self, run: &str) -> Result<Vec<Link>, HostError> {
        let run = self.run(run)?;
        let live = lock(&run.live);
        let gateway = live.as_ref().and_then(|live| live.gateway.as_ref());
        Ok(gateway.map(Gateway::links).unwrap_or_default())
    }

    /// Whether nodes elsewhere can reach the runs here.
    pub fn listens(&self) -> bool {
        self.shared.network.get().is_some()
    }
}
