//! A socket before a coordinator's that counts connections.

use cutover_proto::transport::Endpoint;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::copy_bidirectional;
use tokio::net::{UnixListener, UnixStream};
use tokio_util::task::AbortOnDropHandle;

pub(crate) struct Proxy {
    pub(crate) endpoint: Endpoint,
    connections: Arc<AtomicUsize>,
    _task: AbortOnDropHandle<()>,
}

impl Proxy {
    pub(crate) fn before(coordinator: &Endpoint, at: &Path) -> Self {
        let Endpoint::Unix(behind) = coordinator.clone() else { panic!("{coordinator} is no socket") };
        let listener = UnixListener::bind(at).unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        let task = tokio::spawn(async move {
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
                let behind = behind.clone();
                tokio::spawn(async move {
                    if let Ok(mut far) = UnixStream::connect(behind).await {
                        let _ = copy_bidirectional(&mut near, &mut far).await;
                    }
                });
            }
        });
        Self { endpoint: Endpoint::Unix(at.to_owned()), connections, _task: AbortOnDropHandle::new(task) }
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}
