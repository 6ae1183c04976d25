//! The door as a whole: made of its parts, then served.

use crate::asked::Shared;
use crate::route;
use crate::server::{ServeSettings, serve};
use crate::state::{DoorParts, DoorState};
use axum::Router;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The door. Cheap to clone: all clones are the same.
#[derive(Clone)]
pub struct Door {
    state: Shared,
}

impl Door {
    /// From its parts.
    pub fn new(parts: DoorParts) -> Door {
        Door { state: Arc::new(DoorState::new(parts)) }
    }

    /// Every route.
    pub fn router(&self) -> Router {
        route::router(self.state.clone())
    }

    /// Cancelled when the door closes; cancelling it ends long streams.
    pub fn closing(&self) -> CancellationToken {
        self.state.closing.clone()
    }

    /// Serves until `shutdown`, then lets what is in flight finish, and ends long streams.
    pub async fn serve(&self, listener: TcpListener, settings: ServeSettings, shutdown: impl Future<Output = ()>) {
        serve(listener, self.router(), &self.state, settings, shutdown).await;
    }
}
