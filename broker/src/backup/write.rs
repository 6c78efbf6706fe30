//! Writes a backup. Pure but for where its bytes go.

use std::io;

use broker_admin_api::BackupHeader;
use ring::digest::{Context, SHA256};

use super::{FORMAT, MAGIC};

/// Bytes gathered into one part.
const PART_BYTES: usize = 256 << 10;

/// Takes the state's bytes in order and writes the backup.
pub struct BackupWriter<W> {
    out: W,
    digest: Context,
    part: Vec<u8>,
}

impl<W: io::Write> BackupWriter<W> {
    /// Writes what stands in front.
    ///
    /// # Errors
    /// `out` fails.
    pub fn new(out: W, header: &BackupHeader) -> io::Result<Self> {
        let header = serde_json::to_vec(header).map_err(io::Error::other)?;
        let length = u32::try_from(header.len()).map_err(io::Error::other)?;
        let (digest, part) = (Context::new(&SHA256), Vec::with_capacity(PART_BYTES));
        let mut writer = Self { out, digest, part };
        writer.put(MAGIC)?;
        writer.put(&FORMAT.to_le_bytes())?;
        writer.put(&length.to_le_bytes())?;
        writer.put(&header)?;
        Ok(writer)
    }

    /// Writes what stands behind the state.
    ///
    /// # Errors
    /// `out` fails.
    pub fn finish(mut self) -> io::Result<W> {
        self.put_part()?;
        self.put(&0_u32.to_le_bytes())?;
        let digest = self.digest.finish();
        self.out.write_all(digest.as_ref())?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.digest.update(bytes);
        self.out.write_all(bytes)
    }

    fn put_part(&mut self) -> io::Result<()> {
        let part = std::mem::take(&mut self.part);
        if !part.is_empty() {
            let length = u32::try_from(part.len()).map_err(io::Error::other)?;
            self.put(&length.to_le_bytes())?;
            self.put(&part)?;
        }
        self.part = part;
        self.part.clear();
        Ok(())
    }
}

impl<W: io::Write> io::Write for BackupWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PART_BYTES - self.part.len());
        self.part.extend_from_slice(&bytes[..taken]);
        if self.part.len() == PART_BYTES {
            self.put_part()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.put_part()?;
        self.out.flush()
    }
}
