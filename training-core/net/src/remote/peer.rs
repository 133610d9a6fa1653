//! One control connection: frames in, frames out.

use std::time::Duration;

use iroh::endpoint::{Connection, ConnectionError, RecvStream, SendStream};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::error::PeerError;
use super::wire::{FRAME_BYTES_MAX, Sealer};

/// Longest wait until a frame that was begun is all there, or taken.
pub(super) const FRAME: Duration = Duration::from_secs(10);
/// Messages that wait to be sent; more are lost, as messages may be.
pub(super) const OUTGOING: usize = 1_024;

/// The next frame without its length.
///
/// # Errors
/// [`PeerError::TooLong`] before anything of the frame is read,
/// [`PeerError::Stalled`] when it is begun and not finished,
/// [`PeerError::Gone`] or [`PeerError::Unreadable`] at the end.
pub(super) async fn read_frame(receive: &mut RecvStream) -> Result<Vec<u8>, PeerError> {
    let mut length = [0; 4];
    receive
        .read_exact(&mut length)
        .await
        .map_err(|error| PeerError::Gone(error.to_string()))?;
    let length = u32::from_le_bytes(length) as usize;
    if length > FRAME_BYTES_MAX {
        return Err(PeerError::TooLong(length as u64));
    }
    let mut bytes = vec![0; length];
    let reading = timeout(FRAME, receive.read_exact(&mut bytes)).await;
    match reading {
        Ok(Ok(())) => Ok(bytes),
        Ok(Err(_)) => Err(PeerError::Unreadable),
        Err(_) => Err(PeerError::Stalled("the rest of a frame")),
    }
}

/// Sends what comes through `queue` until it is closed, then ends the stream
/// and waits until the other side has it all.
pub(super) async fn write_frames<T: Serialize>(
    mut send: SendStream,
    mut queue: mpsc::Receiver<T>,
    mut sealer: Sealer,
) -> Result<(), PeerError> {
    while let Some(content) = queue.recv().await {
        let frame = sealer.seal(&content)?;
        match timeout(FRAME, send.write_all(&frame)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(PeerError::Gone(error.to_string())),
            Err(_) => return Err(PeerError::Stalled("it takes no frames")),
        }
    }
    if send.finish().is_ok() {
        timeout(Duration::from_secs(2), send.stopped()).await.ok();
    }
    Ok(())
}

/// Closes with the error's name.
pub(super) fn close(connection: &Connection, error: &PeerError) {
    let (code, reason) = error.reason();
    connection.close(code, &reason);
}

/// What the other side closed the connection with, or what else ended it.
pub(super) fn ended(connection: &Connection, error: PeerError) -> PeerError {
    match connection.close_reason() {
        Some(ConnectionError::ApplicationClosed(close)) => {
            PeerError::Refused(String::from_utf8_lossy(&close.reason).into_owned())
        }
        Some(other) => PeerError::Gone(other.to_string()),
        None => error,
    }
}
