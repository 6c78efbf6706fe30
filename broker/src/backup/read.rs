//! Reads a backup as it comes, piece by piece. Pure.

use broker_admin_api::BackupHeader;
use bytes::{Buf as _, Bytes, BytesMut};
use ring::digest::{Context, SHA256};

use super::{BackupError, DIGEST_BYTES, FORMAT, HEADER_BYTES_MAX, MAGIC, STATE_BYTES_MAX};

/// What comes next.
enum Next {
    Magic,
    Header { bytes: usize },
    Length,
    Part { bytes: usize },
    Digest,
    Nothing,
}

/// Takes a backup in pieces of any size; gives the header as soon as it is there, and the state when
/// all has come and the checksum is right.
pub struct BackupReader {
    next: Next,
    pending: BytesMut,
    digest: Context,
    header: Option<BackupHeader>,
    state: BytesMut,
}

impl Default for BackupReader {
    fn default() -> Self {
        Self {
            next: Next::Magic,
            pending: BytesMut::new(),
            digest: Context::new(&SHA256),
            header: None,
            state: BytesMut::new(),
        }
    }
}

impl BackupReader {
    /// Takes the next piece.
    ///
    /// # Errors
    /// As [`BackupError`] says; nothing of it is of use then.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), BackupError> {
        self.pending.extend_from_slice(piece);
        while self.step()? {}
        Ok(())
    }

    /// The header, once it has come.
    #[must_use]
    pub const fn header(&self) -> Option<&BackupHeader> {
        self.header.as_ref()
    }

    /// The header and the state.
    ///
    /// # Errors
    /// `Damaged` when the end is missing.
    pub fn finish(self) -> Result<(BackupHeader, Bytes), BackupError> {
        match (self.next, self.header) {
            (Next::Nothing, Some(header)) => Ok((header, self.state.freeze())),
            (Next::Magic, _) => Err(BackupError::Foreign),
            _ => Err(BackupError::Damaged { what: "its end is missing" }),
        }
    }

    /// Takes one thing of what has come; false when more has to come first.
    fn step(&mut self) -> Result<bool, BackupError> {
        match self.next {
            Next::Magic => self.magic(),
            Next::Header { bytes } => self.take_header(bytes),
            Next::Length => self.length(),
            Next::Part { bytes } => self.part(bytes),
            Next::Digest => self.check_digest(),
            Next::Nothing if self.pending.is_empty() => Ok(false),
            Next::Nothing => Err(BackupError::Damaged { what: "bytes behind its end" }),
        }
    }

    fn magic(&mut self) -> Result<bool, BackupError> {
        let compared = self.pending.len().min(MAGIC.len());
        if self.pending[..compared] != MAGIC[..compared] {
            return Err(BackupError::Foreign);
        }
        let Some(mut taken) = self.take(MAGIC.len() + 6) else { return Ok(false) };
        taken.advance(MAGIC.len());
        let format = taken.get_u16_le();
        if format > FORMAT {
            return Err(BackupError::NewerFormat { found: format });
        }
        let bytes = taken.get_u32_le();
        if bytes > HEADER_BYTES_MAX {
            return Err(BackupError::Damaged { what: "its header is too long" });
        }
        self.next = Next::Header { bytes: bytes as usize };
        Ok(true)
    }

    fn take_header(&mut self, bytes: usize) -> Result<bool, BackupError> {
        let Some(taken) = self.take(bytes) else { return Ok(false) };
        let header = serde_json::from_slice(&taken)
            .map_err(|_| BackupError::Damaged { what: "its header can't be read" })?;
        self.header = Some(header);
        self.next = Next::Length;
        Ok(true)
    }

    fn length(&mut self) -> Result<bool, BackupError> {
        let Some(mut taken) = self.take(4) else { return Ok(false) };
        let bytes = taken.get_u32_le() as usize;
        if (self.state.len() + bytes) as u64 > STATE_BYTES_MAX {
            return Err(BackupError::TooLarge);
        }
        self.next = if bytes == 0 { Next::Digest } else { Next::Part { bytes } };
        Ok(true)
    }

    fn part(&mut self, bytes: usize) -> Result<bool, BackupError> {
        let taken = bytes.min(self.pending.len());
        if taken == 0 {
            return Ok(false);
        }
        let piece = self.pending.split_to(taken);
        self.digest.update(&piece);
        self.state.extend_from_slice(&piece);
        self.next = match bytes - taken {
            0 => Next::Length,
            bytes => Next::Part { bytes },
        };
        Ok(true)
    }

    fn check_digest(&mut self) -> Result<bool, BackupError> {
        if self.pending.len() < DIGEST_BYTES {
            return Ok(false);
        }
        let written = self.pending.split_to(DIGEST_BYTES);
        if self.digest.clone().finish().as_ref() != &written[..] {
            return Err(BackupError::Damaged { what: "its checksum is wrong" });
        }
        self.next = Next::Nothing;
        Ok(true)
    }

    fn take(&mut self, bytes: usize) -> Option<BytesMut> {
        if self.pending.len() < bytes {
            return None;
        }
        let taken = self.pending.split_to(bytes);
        self.digest.update(&taken);
        Some(taken)
    }
}
