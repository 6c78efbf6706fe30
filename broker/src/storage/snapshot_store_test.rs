use super::*;

fn write(store: &SnapshotStore, meta: &[u8], content: &[u8]) -> SnapshotContent {
    let mut writer = store.begin(GroupId::META, meta).unwrap();
    writer.write_all(content).unwrap();
    Box::new(writer).finish().unwrap()
}

fn read(store: &SnapshotStore) -> Option<(Bytes, Vec<u8>)> {
    let SnapshotFile { meta, content } = store.read(GroupId::META).unwrap()?;
    Some((meta, content.range().read(0, usize::MAX).unwrap()))
}

fn names(directory: &Path) -> Vec<String> {
    let files = fs::read_dir(directory).unwrap();
    files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_snapshot_is_read_as_it_was_written_and_damage_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let store = SnapshotStore::new(directory.path());
    assert!(read(&store).is_none());
    write(&store, b"meta", b"content").replace_earlier().unwrap();
    write(&store, b"later", b"state").replace_earlier().unwrap();
    let (meta, content) = read(&store).unwrap();
    assert_eq!((&meta[..], &content[..]), (&b"later"[..], &b"state"[..]));

    let path = store.path(GroupId::META);
    let whole = fs::read(&path).unwrap();
    for position in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[position] ^= 0x40;
        fs::write(&path, bytes).unwrap();
        assert!(store.read(GroupId::META).is_err(), "byte {position}");
    }
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        assert!(store.read(GroupId::META).is_err(), "{length} bytes");
    }
    let mut newer = whole;
    newer[8] = 9;
    fs::write(&path, newer).unwrap();
    let error = store.read(GroupId::META).unwrap_err();
    assert!(matches!(error, SnapshotError::Newer { version: 9, .. }), "{error}");
}

#[test]
fn a_snapshot_takes_the_place_of_the_one_before_when_it_is_told_to_and_that_one_can_be_read_on() {
    let directory = tempfile::tempdir().unwrap();
    let store = SnapshotStore::new(directory.path());
    let large: Vec<u8> = (0..3_000_000u32).map(|n| n as u8).collect();
    let first = write(&store, b"1", &large);
    assert!(read(&store).is_none());
    first.replace_earlier().unwrap();
    let second = write(&store, b"2", b"second");
    assert_eq!(read(&store).unwrap().0, "1");
    second.replace_earlier().unwrap();
    assert_eq!(read(&store).unwrap().0, "2");
    assert_eq!(first.range().read(0, usize::MAX).unwrap(), large);
    first.replace_earlier().unwrap();
    assert_eq!(read(&store).unwrap().0, "2", "once is enough");
}

#[test]
fn what_is_not_finished_or_not_wanted_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let store = SnapshotStore::new(directory.path());
    drop(write(&store, b"meta", b"content"));
    assert_eq!(names(directory.path()), [""; 0]);
    let mut begun = store.begin(GroupId::META, b"meta").unwrap();
    begun.write_all(b"half of it").unwrap();
    std::mem::forget(begun);
    assert_eq!(names(directory.path()).len(), 1);
    let store = SnapshotStore::new(directory.path());
    assert_eq!(names(directory.path()), [""; 0]);
    assert!(read(&store).is_none());
}
