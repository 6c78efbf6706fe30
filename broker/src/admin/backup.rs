//! `GET /v1/backup` and `POST /v1/cluster/restore`: state as it is written, and as it comes.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Query, Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use broker_admin_api::{BackupHeader, Reason, Restored};
use futures::{Stream, StreamExt as _};
use serde::Deserialize;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::refusal::Refusal;
use super::routes::Answer;
use super::{AdminContext, status};
use crate::backup::{BackupError, BackupReader, BackupWriter};
use crate::cluster::meta::{CheckedState, MembershipError, MetaPhase, MetaStatus, StateCopy};

/// Pieces of a backup that are written and not sent yet.
const PIECES_MAX: usize = 4;

/// Bytes of a piece.
const PIECE_BYTES: usize = 256 << 10;

/// Longest wait until all that is known to be committed is applied: under load the last entry often
/// is not yet.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(5);

/// Longest wait for whoever takes a backup, or sends one, to go on.
const STALLED_MAX: Duration = Duration::from_secs(60);

/// Sends the state as of the last entry that this broker has applied, while it is written.
pub(super) async fn backup(State(context): State<AdminContext>) -> Result<Response, Refusal> {
    let turn = take_turn(&context)?;
    let is_current = |status: &MetaStatus| status.phase == MetaPhase::Serving;
    let is_current = context.meta.wait_for(CAUGHT_UP_WITHIN, is_current).await;
    let copy = match context.meta.copy_state() {
        Some(copy) if is_current => copy,
        _ => {
            let message = "this broker has not caught up with the cluster: ask another one";
            return Err(Refusal::new(Reason::Unavailable, message));
        }
    };
    let header = BackupHeader {
        cluster_id: context.facts.cluster_id.clone(),
        written_by: context.links.name().to_owned(),
        broker_version: context.facts.version.clone(),
        created_at: now(),
        log_index: copy.log_index,
        log_term: copy.log_term,
        contains_secrets: true,
    };
    let name = format!("attachment; filename=\"{}-{}.backup\"", header.cluster_id, copy.log_index);
    tracing::info!(log_index = copy.log_index, "writing a backup");
    let (pieces, received) = mpsc::channel(PIECES_MAX);
    let (end, ended) = oneshot::channel();
    let handle = Handle::current();
    tokio::task::spawn_blocking(move || {
        let pieces = Pieces { pieces, handle, gathered: Vec::with_capacity(PIECE_BYTES) };
        let written = write(&copy, &header, pieces, turn);
        if let Err(error) = &written {
            tracing::warn!(%error, "the backup was not written to its end");
        }
        // Whoever took the backup may have gone.
        let _ = end.send(written);
    });
    let stream = sent(received, ended);
    let headers =
        [(header::CONTENT_TYPE, "application/octet-stream"), (header::CONTENT_DISPOSITION, &*name)];
    Ok((headers, Body::from_stream(stream)).into_response())
}

/// One backup or restore at a time.
fn take_turn(context: &AdminContext) -> Result<OwnedSemaphorePermit, Refusal> {
    context.backups.clone().try_acquire_owned().map_err(|_| {
        Refusal::new(Reason::Overloaded, "another backup or restore is under way: wait for it")
    })
}

/// The pieces, and behind them the error that writing ended with: it breaks the connection, so that
/// nobody takes what was sent for a whole backup.
fn sent(
    pieces: mpsc::Receiver<Bytes>,
    ended: oneshot::Receiver<io::Result<()>>,
) -> impl Stream<Item = io::Result<Bytes>> {
    futures::stream::unfold(Some((pieces, ended)), async |left| {
        let (mut pieces, ended) = left?;
        if let Some(piece) = pieces.recv().await {
            return Some((Ok(piece), Some((pieces, ended))));
        }
        let ended = ended.await.unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()));
        ended.err().map(|error| (Err(error), None))
    })
}

fn write(
    copy: &StateCopy,
    header: &BackupHeader,
    pieces: Pieces,
    _turn: OwnedSemaphorePermit,
) -> io::Result<()> {
    let mut writer = BackupWriter::new(pieces, header)?;
    copy.write(&mut writer)?;
    writer.finish().map(drop)
}

/// Hands what is written to the connection, no faster than it takes it.
struct Pieces {
    pieces: mpsc::Sender<Bytes>,
    handle: Handle,
    gathered: Vec<u8>,
}

impl Pieces {
    fn send(&mut self) -> io::Result<()> {
        let piece = Bytes::from(std::mem::take(&mut self.gathered));
        let sent = self.pieces.send(piece);
        match self.handle.block_on(async { tokio::time::timeout(STALLED_MAX, sent).await }) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "nobody takes the backup")),
        }
    }
}

impl io::Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() >= PIECE_BYTES {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() { Ok(()) } else { self.send() }
    }
}

/// What may stand behind the path.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RestoreOptions {
    allow_foreign: bool,
}

/// Founds the cluster on this empty broker, from a backup. Refused, it has changed nothing.
pub(super) async fn restore(
    State(context): State<AdminContext>,
    options: Result<Query<RestoreOptions>, axum::extract::rejection::QueryRejection>,
    request: Request,
) -> Answer<Restored> {
    let Query(options) =
        options.map_err(|error| Refusal::new(Reason::BadRequest, error.body_text()))?;
    let _turn = take_turn(&context)?;
    if context.meta.status().phase != MetaPhase::Uninitialised {
        return Err(has_state());
    }
    let (header, content) = receive(&context, options.allow_foreign, request).await?;
    let (index, term) = (header.log_index, header.log_term);
    let checked = tokio::task::spawn_blocking(move || CheckedState::check(index, term, content));
    let checked =
        checked.await.map_err(|error| Refusal::new(Reason::Internal, error.to_string()))?;
    let state = checked.map_err(|error| Refusal::new(Reason::InvalidBackup, error.to_string()))?;
    tracing::warn!(
        cluster_id = header.cluster_id,
        log_index = header.log_index,
        "founding the cluster from a backup"
    );
    let founded = context.meta.restore(state).await.map_err(|error| match error {
        MembershipError::AlreadyInitialised => has_state(),
        error => Refusal::from(error),
    })?;
    Ok(Json(Restored {
        backup: header,
        membership_log_index: founded.membership_log_index.unwrap_or(0),
        members: status::members(&founded.members),
    }))
}

fn has_state() -> Refusal {
    let message = "this broker has state already, which a backup would replace: a backup is \
                   restored into the first broker of a new cluster (spec.foundedFrom: Backup)";
    Refusal::new(Reason::AlreadyInitialised, message)
}

async fn receive(
    context: &AdminContext,
    allow_foreign: bool,
    request: Request,
) -> Result<(BackupHeader, Bytes), Refusal> {
    let mut reader = BackupReader::default();
    let mut pieces = request.into_body().into_data_stream();
    let mut is_known = false;
    loop {
        let piece = match tokio::time::timeout(STALLED_MAX, pieces.next()).await {
            Ok(Some(Ok(piece))) => piece,
            Ok(None) => break,
            Ok(Some(Err(error))) => {
                return Err(Refusal::new(Reason::BadRequest, error.to_string()));
            }
            Err(_) => {
                let seconds = STALLED_MAX.as_secs();
                let message =
                    format!("no more of the backup has come for {seconds} seconds: send it again");
                return Err(Refusal::new(Reason::Timeout, message));
            }
        };
        reader.push(&piece)?;
        if let Some(header) = reader.header().filter(|_| !is_known) {
            check_origin(context, header, allow_foreign)?;
            is_known = true;
        }
    }
    Ok(reader.finish()?)
}

fn check_origin(
    context: &AdminContext,
    header: &BackupHeader,
    allow_foreign: bool,
) -> Result<(), Refusal> {
    let own = &context.facts.cluster_id;
    if header.cluster_id == *own || allow_foreign {
        return Ok(());
    }
    let message = format!(
        "the backup is of cluster {}, this broker belongs to {own}: if its users, sessions and \
         messages are to be this cluster's, ask again with ?allow_foreign=true",
        header.cluster_id
    );
    Err(Refusal::new(Reason::ForeignBackup, message))
}

impl From<BackupError> for Refusal {
    fn from(error: BackupError) -> Self {
        let reason = match error {
            BackupError::TooLarge => Reason::PayloadTooLarge,
            _ => Reason::InvalidBackup,
        };
        Self::new(reason, error.to_string())
    }
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_backup_that_was_not_written_to_its_end_ends_with_an_error() {
        let cases = [(Some(Ok(())), 1), (Some(Err(io::ErrorKind::TimedOut.into())), 2), (None, 2)];
        for (written, items) in cases {
            // As full as it gets: what went wrong needs no room.
            let (pieces, received) = mpsc::channel(1);
            pieces.send(Bytes::from_static(b"piece")).await.unwrap();
            let (end, ended) = oneshot::channel();
            let is_whole = matches!(written, Some(Ok(())));
            if let Some(written) = written {
                end.send(written).unwrap();
            } else {
                drop(end);
            }
            drop(pieces);
            let sent: Vec<_> = sent(received, ended).collect().await;
            assert_eq!(sent.len(), items);
            assert_eq!(sent.iter().all(Result::is_ok), is_whole);
        }
    }
}
