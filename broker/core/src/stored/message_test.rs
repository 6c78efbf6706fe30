use bytes::Bytes;

use super::*;
use crate::stored::decode_head;

fn message(payload: &[u8]) -> Arc<Message> {
    let mut frame = vec![0x30, 3 + payload.len() as u8, 0, 1, b't'];
    frame.insert(5, 0);
    frame[1] += 1;
    frame.extend_from_slice(payload);
    Arc::new(Message::from_frame(QoS::ExactlyOnce, true, Millis(77), &frame))
}

fn moved(message: &Arc<Message>, change: impl FnOnce(&mut Vec<u8>)) -> StoredMessage {
    let stored = StoredMessage::new(Arc::clone(message));
    let mut file = b"before".to_vec();
    stored.append_record(&mut file).unwrap();
    change(&mut file);
    let section = MessageSection::new(Arc::new(Bytes::from(file)), 2);
    stored.move_to(section, 4);
    stored
}

#[test]
fn a_message_reads_the_same_from_memory_and_from_a_file() {
    assert_eq!(size_of::<Stored>() + 2 * size_of::<usize>(), 56);
    let message = message(b"payload");
    assert_eq!(message.publish().unwrap().payload, b"payload");
    let stored = StoredMessage::new(Arc::clone(&message));
    assert!(stored.in_memory().is_some());
    let elsewhere = moved(&message, |_| {});
    assert!(elsewhere.in_memory().is_none());
    assert_eq!(*elsewhere.load().unwrap(), *message);
    assert_eq!((elsewhere.bytes(), elsewhere.qos()), (message.bytes(), QoS::ExactlyOnce));
    assert_eq!(stored, elsewhere);

    let (mut one, mut other) = (Vec::new(), Vec::new());
    stored.append_record(&mut one).unwrap();
    elsewhere.append_record(&mut other).unwrap();
    assert_eq!(one, other);
    assert_eq!(decode_head(&one), Some(stored.0.head));
}

#[test]
fn no_byte_of_a_message_in_a_file_changes_unnoticed() {
    let message = message(b"payload");
    let record_bytes = MESSAGE_HEADER_BYTES + message.bytes();
    for position in 6..6 + record_bytes {
        let damaged = moved(&message, |file| file[position] ^= 0x10);
        assert!(damaged.load().is_err(), "byte {position}");
        assert!(damaged.append_record(&mut Vec::new()).is_err(), "byte {position}");
    }
    assert!(moved(&message, |file| file.truncate(5 + record_bytes)).load().is_err());
}

#[test]
fn a_weak_message_is_there_for_as_long_as_it_is_kept() {
    let stored = StoredMessage::new(message(b"x"));
    let weak = stored.downgrade();
    assert!(weak.is_kept());
    assert_eq!(weak.upgrade(), Some(stored.clone()));
    drop(stored);
    assert!(!weak.is_kept() && weak.upgrade().is_none());
}
