//! The gateway from start to stop.

use crate::access::{Access, Limits};
use crate::clock::Clock;
use crate::switch::Switch;
use crate::writer::{self, Queue};
use backend::api::Backend;
use keys::KeyModule;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// How long connections have to end at a stop.
pub const DRAIN: Duration = Duration::from_secs(10);

/// A running gateway.
pub struct Server {
    access: Access,
    queue: Arc<Queue>,
    switch: Arc<Switch>,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    accepting: tokio::task::JoinHandle<()>,
    writer: JoinHandle<()>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Server({}, {:?})", self.address, self.access)
    }
}

impl Server {
    /// Starts on a listener that is bound already. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The operating system gives no thread or no address.
    pub fn start(
        listener: TcpListener,
        backend: Box<dyn Backend + Send>,
        keys: Arc<dyn KeyModule>,
        clock: Clock,
        limits: Limits,
    ) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let queue = Arc::new(Queue::default());
        let switch = Arc::new(Switch::new(keys));
        let writer = writer::start(backend, Arc::clone(&queue), clock.clone())?;
        let access = Access::new(Arc::clone(&switch), Arc::clone(&queue), clock, limits);
        let (stop, stopped) = watch::channel(false);
        let accepting = {
            let access = access.clone();
            tokio::spawn(async move { access.run(listener, stopped, DRAIN).await })
        };
        Ok(Self { access, queue, switch, address, stop, accepting, writer })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its connections.
    #[must_use]
    pub const fn access(&self) -> &Access {
        &self.access
    }

    /// The way to its backend, for operators.
    #[must_use]
    pub const fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// Who is signed in.
    #[must_use]
    pub const fn switch(&self) -> &Arc<Switch> {
        &self.switch
    }

    /// Stops gracefully: accepts nothing more, lets every answer leave, closes the store.
    pub async fn stop(self) {
        // Nobody listens only if it has ended by itself.
        let _ = self.stop.send(true);
        if let Err(error) = self.accepting.await {
            tracing::error!(%error, "the listener failed");
        }
        self.queue.close();
        let writer = self.writer;
        let joined = tokio::task::spawn_blocking(move || writer.join().is_ok()).await;
        if !matches!(joined, Ok(true)) {
            tracing::error!("the writer failed");
        }
    }
}
