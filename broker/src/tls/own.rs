//! The TLS files that one listener has for itself.

use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use broker_admin_api::ReloadError;
use broker_config::TlsPaths;

use super::error::TlsError;
use super::files::{FilesMark, paths_of};
use super::read::{ListenerTls, Ticketers, Trust, read_server};
use super::store::report;
use crate::sync::lock;

/// What is in use of them.
pub(super) struct OwnTls {
    pub(super) listener: u8,
    files: TlsPaths,
    in_use: ArcSwap<ListenerTls>,
    state: Mutex<State>,
}

struct State {
    mark: FilesMark,
    error: Option<ReloadError>,
    trust: Trust,
    ticketers: Arc<Ticketers>,
}

impl OwnTls {
    pub(super) fn load(listener: u8, files: TlsPaths) -> Result<Self, TlsError> {
        let mark = FilesMark::of(paths_of(&files));
        let server = read_server(&files, None, None)?;
        Ok(Self {
            listener,
            files,
            in_use: ArcSwap::from_pointee(server.listeners),
            state: Mutex::new(State {
                mark,
                error: None,
                trust: server.trust,
                ticketers: server.ticketers,
            }),
        })
    }

    pub(super) fn in_use(&self) -> Arc<ListenerTls> {
        self.in_use.load_full()
    }

    pub(super) fn error(&self) -> Option<ReloadError> {
        lock(&self.state).error.clone()
    }

    /// How the files are now, and whether they are others than were last read.
    pub(super) fn look(&self) -> (FilesMark, bool) {
        let mark = FilesMark::of(paths_of(&self.files));
        let is_new = mark != lock(&self.state).mark;
        (mark, is_new)
    }

    /// As [`super::TlsStore::reload`].
    pub(super) fn reload(&self, force: bool) {
        let mark = FilesMark::of(paths_of(&self.files));
        let mut state = lock(&self.state);
        if !force && mark == state.mark {
            return;
        }
        state.mark = mark;
        match read_server(&self.files, None, Some((&state.ticketers, &state.trust))) {
            Ok(server) => {
                tracing::info!(
                    listener = self.listener,
                    fingerprint = server.served.fingerprint,
                    not_after = server.served.not_after,
                    "a listener's own certificate and trust anchors are in use"
                );
                self.in_use.store(Arc::new(server.listeners));
                (state.trust, state.ticketers) = (server.trust, server.ticketers);
                state.error = None;
            }
            Err(error) => state.error = Some(report("listener", &error)),
        }
    }
}
