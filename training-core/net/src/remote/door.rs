//! Who is let into a run, and how those who are in are connected.

use std::sync::Arc;
use std::time::Duration;

use iroh::endpoint::Connection;
use plumbline_training_core::digest::Digest;
use plumbline_training_core::round::NodeId;

use super::error::PeerError;
use crate::board::Control;
use crate::run::OutsideRules;

/// How often stakes are looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Who is let into a run.
pub(super) struct Door {
    pub(super) rules: OutsideRules,
    /// Knows who has a stake.
    pub(super) control: Arc<Control>,
    /// In every ticket.
    pub(super) secret: [u8; 16],
}

impl Door {
    /// Refuses a node that needs a stake and has none.
    pub(super) fn check_stake(&self, key: &[u8; 32]) -> Result<(), PeerError> {
        if !self.rules.staked {
            return Ok(());
        }
        match self.control.admits(&Digest(*key)) {
            Some(true) => Ok(()),
            Some(false) => Err(PeerError::NoStake),
            // So it comes again: a process that has just started may know in a moment.
            None => Err(PeerError::Gone("who has a stake is not known yet".into())),
        }
    }

    /// Ends when the node's stake is held no more.
    pub(super) async fn stake_gone(&self, key: &[u8; 32]) {
        while self.check_stake(key) != Err(PeerError::NoStake) {
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// How a node elsewhere is connected.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// Its name.
    pub node: NodeId,
    /// Round trip of the path in use; zero where none is known.
    pub rtt: Duration,
    /// Packets sent to it, and those of them that were lost.
    pub packets: (u64, u64),
    /// Bytes in UDP datagrams sent to it and received from it.
    pub bytes: (u64, u64),
}

impl Link {
    /// What both connections of a node say together: one for announcements, one for payloads.
    pub(super) fn new(node: NodeId, control: &Connection, pieces: Option<&Connection>) -> Self {
        let (mut packets, mut bytes) = ((0, 0), (0, 0));
        for connection in std::iter::once(control).chain(pieces) {
            let stats = connection.stats();
            packets.0 += stats.sent_packets;
            packets.1 += stats.lost_packets;
            bytes.0 += stats.udp_tx.bytes;
            bytes.1 += stats.udp_rx.bytes;
        }
        let paths = control.paths();
        let chosen = paths.iter().find(|path| path.is_selected());
        Self {
            node,
            rtt: chosen.map_or(Duration::ZERO, |path| path.rtt()),
            packets,
            bytes,
        }
    }
}
