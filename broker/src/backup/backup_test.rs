//! Backups that are written and read, whole, in pieces, cut and damaged.

use std::io::Write as _;

use broker_admin_api::BackupHeader;

use super::{BackupError, BackupReader, BackupWriter};

fn header() -> BackupHeader {
    BackupHeader {
        cluster_id: "01K".to_owned(),
        written_by: "fleet-0".to_owned(),
        broker_version: "0.1.0".to_owned(),
        created_at: 7,
        log_index: 42,
        log_term: 3,
        contains_secrets: true,
    }
}

/// Longer than a part, and no multiple of it.
fn state() -> Vec<u8> {
    (0..700_001_u32).map(|n| (n % 251) as u8).collect()
}

fn backup() -> Vec<u8> {
    let mut writer = BackupWriter::new(Vec::new(), &header()).unwrap();
    writer.write_all(&state()).unwrap();
    writer.finish().unwrap()
}

fn read(backup: &[u8], piece: usize) -> Result<Vec<u8>, BackupError> {
    let mut reader = BackupReader::default();
    for piece in backup.chunks(piece) {
        reader.push(piece)?;
    }
    let (found, state) = reader.finish()?;
    assert_eq!(found, header());
    Ok(state.to_vec())
}

#[test]
fn what_was_written_is_read_in_pieces_of_any_size() {
    let backup = backup();
    for piece in [1, 7, 4_096, backup.len()] {
        assert_eq!(read(&backup, piece).unwrap(), state(), "pieces of {piece}");
    }
}

#[test]
fn the_header_is_there_before_the_rest() {
    let mut reader = BackupReader::default();
    reader.push(&backup()[..1_000]).unwrap();
    assert_eq!(reader.header(), Some(&header()));
}

#[test]
fn a_backup_that_is_cut_short_anywhere_is_refused() {
    let backup = backup();
    let lengths = (0..600).chain(backup.len() - 40..backup.len());
    for length in lengths {
        let refused = read(&backup[..length], 999).unwrap_err();
        let is_known = matches!(refused, BackupError::Damaged { .. } | BackupError::Foreign);
        assert!(is_known, "{length}: {refused}");
    }
}

#[test]
fn a_bit_that_flips_anywhere_is_noticed() {
    let backup = backup();
    for at in (0..300).chain((300..backup.len()).step_by(9_973)).chain([backup.len() - 1]) {
        let mut damaged = backup.clone();
        damaged[at] ^= 4;
        assert!(read(&damaged, 65_536).is_err(), "byte {at}");
    }
}

#[test]
fn other_files_and_later_formats_are_told_apart() {
    assert_eq!(read(b"PK\x03\x04 a zip file", 4), Err(BackupError::Foreign));
    assert_eq!(read(b"", 1), Err(BackupError::Foreign));
    let mut later = backup();
    later[14] = 2;
    let refused = read(&later, 999).unwrap_err();
    assert_eq!(refused, BackupError::NewerFormat { found: 2 });
    assert!(refused.to_string().contains("newer broker"), "{refused}");
    let mut longer = backup();
    longer.push(0);
    let refused = read(&longer, 999).unwrap_err();
    assert!(refused.to_string().contains("behind its end"), "{refused}");
}
