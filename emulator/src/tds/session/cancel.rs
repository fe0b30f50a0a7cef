//! How a running request is told to stop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::InterruptHandle;

/// How often somebody who waits looks at the flag.
const LOOK: Duration = Duration::from_millis(5);

/// Shared by a session and its connection.
#[derive(Default)]
pub(in crate::tds) struct Cancel {
    flag: AtomicBool,
    /// Stops a statement inside of SQLite.
    interrupt: Mutex<Option<InterruptHandle>>,
}

impl std::fmt::Debug for Cancel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cancel")
            .field("flag", &self.is_set())
            .finish_non_exhaustive()
    }
}

impl Cancel {
    pub(super) fn new(interrupt: InterruptHandle) -> Self {
        Self {
            flag: AtomicBool::new(false),
            interrupt: Mutex::new(Some(interrupt)),
        }
    }

    pub(in crate::tds) fn set(&self) {
        self.flag.store(true, Ordering::SeqCst);
        let interrupt = self
            .interrupt
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(interrupt) = interrupt.as_ref() {
            interrupt.interrupt();
        }
    }

    pub(in crate::tds) fn clear(&self) {
        self.flag.store(false, Ordering::SeqCst);
    }

    pub(super) fn is_set(&self) -> bool {
        self.flag.load(Ordering::SeqCst)
    }

    /// Rests once. False: stop.
    pub(super) fn rest(&self) -> bool {
        std::thread::sleep(LOOK);
        !self.is_set()
    }

    /// Rests so long. False: stop.
    pub(super) fn sleep(&self, time: Duration) -> bool {
        let end = Instant::now() + time;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            std::thread::sleep(left.min(LOOK));
            if self.is_set() {
                return false;
            }
        }
        !self.is_set()
    }

    /// Sets it when the value goes.
    pub(in crate::tds) fn on_drop(self: &Arc<Self>) -> CancelOnDrop {
        CancelOnDrop(Arc::clone(self))
    }
}

/// See [`Cancel::on_drop`].
#[derive(Debug)]
pub(in crate::tds) struct CancelOnDrop(Arc<Cancel>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.set();
    }
}
