//! Heads of the chain leave while the gateway runs: at its start, every so often, and at its end.

use super::{Through, heads};
use crate::config::HeadSettings;
use crate::writer::Queue;
use keys::SoftKeys;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

/// The thread that exports heads, until it is dropped.
#[derive(Debug)]
pub struct HeadSchedule {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl HeadSchedule {
    /// Starts it.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub fn start(
        settings: HeadSettings,
        queue: Arc<Queue>,
        keys: Arc<SoftKeys>,
        database: String,
    ) -> io::Result<Self> {
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let stopping = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("heads".into()).spawn(move || {
            let mut desk = Through::new(queue, database);
            let (stopped, changed) = &*stopping;
            loop {
                match heads::export(&mut desk, &*keys, settings.acquirer, &settings.file) {
                    Ok(Some(head)) => tracing::info!(commit = head.commit, "a head was exported"),
                    Ok(None) => {}
                    // The next one says as much: a head is over everything before it.
                    Err(failure) => tracing::error!(%failure, "no head was exported"),
                }
                let stopped = stopped.lock().unwrap_or_else(PoisonError::into_inner);
                if *stopped {
                    return;
                }
                // Woken for the stop, it exports once more; a wake for nothing does no harm.
                let _ = changed.wait_timeout(stopped, settings.every());
            }
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for HeadSchedule {
    fn drop(&mut self) {
        let (stopped, changed) = &*self.stop;
        *stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}
