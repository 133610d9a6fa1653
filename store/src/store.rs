//! The handle that everyone shares: writes go to the writer thread, reads to a small pool.

use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, ThreadId};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use tokio::sync::oneshot;

use crate::crash::{self, CrashPlan};
use crate::error::StoreError;
use crate::log;
use crate::open::{self, FileLock};
use crate::pool::Pool;
use crate::slow::{SlowRead, SlowReads};
use crate::tx::Tx;
use crate::writer::{self, Call, Request, Shared};

/// How large the store's queues and pools are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreOptions {
    /// Writes that may wait; one more is refused with [`StoreError::Overloaded`].
    pub queue: usize,
    /// Writes that share one commit at most.
    pub batch: usize,
    /// Connections that read.
    pub readers: usize,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            queue: 1024,
            batch: 256,
            readers: 4,
        }
    }
}

/// A database file in use by this process. Clones share it; the last one to go waits for the queued
/// writes, closes the file and gives up its lock.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    /// `None` only while dropping.
    sender: Mutex<Option<SyncSender<Box<dyn Request>>>>,
    writer: Option<JoinHandle<()>>,
    writer_id: ThreadId,
    shared: Arc<Shared>,
    readers: Pool,
    slow: SlowReads,
    /// Held for as long as any clone lives.
    _lock: FileLock,
}

impl Store {
    /// Opens the file, creating it (and its folder) if need be, and brings its schema up to date.
    ///
    /// # Errors
    /// [`StoreError::Open`] for a file that another process uses, that is no database or not one of this
    /// program, that a newer version wrote, or that cannot be written.
    pub fn open(path: &Path, options: StoreOptions) -> Result<Store, StoreError> {
        Self::start(path, options, None)
    }

    /// As [`Store::open`], for a simulation in which the writing process dies when `plan` says so.
    /// Nothing is forced to the disk: such a death loses what the process had not yet written to
    /// its files, and keeps what it had, whether the disk has it or not.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_to_crash(
        path: &Path,
        options: StoreOptions,
        plan: Arc<dyn CrashPlan>,
    ) -> Result<Store, StoreError> {
        Self::start(path, options, Some(plan))
    }

    fn start(
        path: &Path,
        options: StoreOptions,
        crashes: Option<Arc<dyn CrashPlan>>,
    ) -> Result<Store, StoreError> {
        let (path, lock) = open::claim(path)?;
        let mut conn = open::writer(&path)?;
        log::catch_up(&mut conn)?;
        let readers = (0..options.readers.max(1))
            .map(|_| open::reader(&path))
            .collect::<Result<Vec<_>, _>>()?;
        let (sender, requests) = sync_channel(options.queue.max(1));
        let shared = Arc::new(Shared {
            crashes,
            ..Shared::default()
        });
        if let Some(plan) = &shared.crashes {
            conn.batch_execute("PRAGMA synchronous = OFF")?;
            crash::observe(&mut conn, plan, &shared);
        }
        let (seen, batch) = (Arc::clone(&shared), options.batch.max(1));
        let writer = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer::work(conn, &requests, &seen, batch))
            .map_err(|error| {
                StoreError::open(&path, format!("no thread could be started for it: {error}"))
            })?;
        Ok(Store {
            inner: Arc::new(Inner {
                sender: Mutex::new(Some(sender)),
                writer_id: writer.thread().id(),
                writer: Some(writer),
                shared,
                readers: Pool::new(readers),
                slow: SlowReads::default(),
                _lock: lock,
            }),
        })
    }

    /// Runs `f` in the writer's next transaction and returns once its changes are on the disk. An error
    /// from `f` undoes what `f` wrote and harms no other request. Blocks the calling thread.
    ///
    /// # Errors
    /// What `f` returns; [`StoreError::Overloaded`] at once when the queue is full; the failure of the
    /// commit; [`StoreError::Panicked`] if `f` panicked.
    pub fn write<T, E, F>(&self, f: F) -> Result<T, E>
    where
        F: FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        // The reply is dropped unsent only if it could not be built: its own conversion panicked.
        self.ask_writer(f)?
            .recv()
            .unwrap_or_else(|_| Err(StoreError::Panicked.into()))
    }

    /// As [`Store::write`], waiting for so long at most: `None` where the writer has not answered by then. What was
    /// asked for still happens.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub fn write_within<T, E, F>(&self, longest: Duration, f: F) -> Result<Option<T>, E>
    where
        F: FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        match self.ask_writer(f)?.recv_timeout(longest) {
            Ok(answer) => answer.map(Some),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(StoreError::Panicked.into()),
        }
    }

    /// Queues `f` for the writer; its result comes once it is on the disk.
    fn ask_writer<T, E, F>(&self, f: F) -> Result<Receiver<Result<T, E>>, E>
    where
        F: FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.refuse_writer()?;
        let (reply, answer) = sync_channel(1);
        self.enqueue(Box::new(Call {
            closure: Some(f),
            result: None,
            reply,
        }))?;
        Ok(answer)
    }

    /// As [`Store::write`], for a task instead of a thread: nothing blocks.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub async fn write_async<T, E, F>(&self, f: F) -> Result<T, E>
    where
        F: FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.refuse_writer()?;
        let (reply, answer) = oneshot::channel();
        self.enqueue(Box::new(Call {
            closure: Some(f),
            result: None,
            reply,
        }))?;
        answer
            .await
            .unwrap_or_else(|_| Err(StoreError::Panicked.into()))
    }

    /// A write from within a write would wait for itself for ever.
    fn refuse_writer(&self) -> Result<(), StoreError> {
        if std::thread::current().id() == self.inner.writer_id {
            return Err(StoreError::conflict(
                "a write was started from within a write",
            ));
        }
        Ok(())
    }

    /// A number that grows with every commit that may have changed more than trades do: anything but
    /// prices, balances, positions and what is only added. Whoever remembers other rows notes the number
    /// before reading them, and forgets them when it has grown. It has grown before the write that
    /// changed them is answered.
    pub fn epoch(&self) -> u64 {
        self.inner.shared.epoch.load(Ordering::Acquire)
    }

    /// A number that grows with every commit, before any write of it is answered. Whoever remembers what a
    /// read found notes the number before it, and reads again when it has grown.
    pub fn commits(&self) -> u64 {
        self.inner.shared.commits.load(Ordering::Acquire)
    }

    fn enqueue(&self, request: Box<dyn Request>) -> Result<(), StoreError> {
        if self.inner.shared.dead.load(Ordering::Acquire) {
            return Err(StoreError::Closed);
        }
        let sender = self
            .inner
            .sender
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let sender = sender.as_ref().ok_or(StoreError::Closed)?;
        // Counted before it is sent, so that the writer never takes what was not yet counted.
        self.inner.shared.queued.fetch_add(1, Ordering::Relaxed);
        sender.try_send(request).map_err(|error| {
            self.inner.shared.queued.fetch_sub(1, Ordering::Relaxed);
            match error {
                TrySendError::Full(_) => StoreError::Overloaded,
                TrySendError::Disconnected(_) => StoreError::Closed,
            }
        })
    }

    /// Runs `f` on a read-only connection, on the state after some commit: at least the newest one
    /// that this thread knows of. Do not call it from within `f`: the pool is small.
    ///
    /// # Errors
    /// What `f` returns; [`StoreError::Overloaded`] when no reader became free within five seconds;
    /// [`StoreError::Panicked`] if `f` panicked.
    #[track_caller]
    pub fn read<T, E, F>(&self, f: F) -> Result<T, E>
    where
        F: FnOnce(&mut Tx<'_>) -> Result<T, E>,
        E: From<StoreError>,
    {
        let (place, started) = (Location::caller(), Instant::now());
        let mut reader = self.inner.readers.take()?;
        let conn = reader.connection()?;
        conn.batch_execute("BEGIN").map_err(StoreError::from)?;
        let result = catch_unwind(AssertUnwindSafe(|| f(&mut Tx::new(&mut *conn))))
            .unwrap_or_else(|_| Err(StoreError::Panicked.into()));
        // Nothing was written; this only lets go of the snapshot. It fails when an input/output error
        // has ended the transaction already, which `f` was told.
        let _ = conn.batch_execute("ROLLBACK");
        self.inner.slow.note(place, started);
        result
    }

    /// The latest reads that took a tenth of a second or more, latest first.
    pub fn slow_reads(&self) -> Vec<SlowRead> {
        self.inner.slow.latest()
    }

    /// Writes that wait for the writer now.
    pub fn queue_depth(&self) -> usize {
        self.inner.shared.queued.load(Ordering::Relaxed)
    }

    /// Has `f` called after each commit that added events, with the id of the last one. It runs on the
    /// writer thread: it should do no more than wake somebody, and must not hold a clone of this store.
    pub fn on_commit(&self, f: impl Fn(u64) + Send + Sync + 'static) {
        self.inner
            .shared
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::new(f));
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        *self
            .sender
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner) = None;
        let Some(writer) = self.writer.take() else {
            return;
        };
        // The last clone may have been captured by a write: then the writer is the thread that drops it.
        if std::thread::current().id() != self.writer_id && writer.join().is_err() {
            tracing::error!("the store's writer thread had panicked");
        }
    }
}
