//! A broker of a hundred lines: exact topics, a thread for each connection, packets copied as they are.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use mqtt_bench::wire::{Frame, PUBACK, acknowledge, next_frame};

/// How it behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    Honest,
    DropsNineOfTen,
    RefusesConnect,
    RefusesSubscribe,
    ClosesOnPublish,
}

struct State {
    behaviour: Behaviour,
    subscribers: Mutex<HashMap<Vec<u8>, Vec<TcpStream>>>,
    connects: AtomicUsize,
    messages: AtomicUsize,
}

/// A broker on loopback; its threads end with the test.
pub(crate) struct Broker {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

impl Broker {
    pub(crate) fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            behaviour,
            subscribers: Mutex::default(),
            connects: AtomicUsize::new(0),
            messages: AtomicUsize::new(0),
        });
        let serving = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&serving);
                std::thread::spawn(move || serve(stream, &state));
            }
        });
        Self { address, state }
    }

    pub(crate) fn connects(&self) -> usize {
        self.state.connects.load(Ordering::Relaxed)
    }

    /// Messages that it dropped.
    pub(crate) fn dropped(&self) -> u64 {
        let messages = self.state.messages.load(Ordering::Relaxed) as u64;
        messages - messages / 10
    }

    /// Every filter that was subscribed to, as often as it was.
    pub(crate) fn filters(&self) -> Vec<String> {
        let subscribers = self.state.subscribers.lock().unwrap();
        let text = |bytes: &Vec<u8>| String::from_utf8(bytes.clone()).unwrap();
        subscribers.iter().flat_map(|(filter, to)| to.iter().map(|_| text(filter))).collect()
    }
}

fn serve(mut stream: TcpStream, state: &State) -> Option<()> {
    let (mut unread, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    let mut is_v5 = false;
    loop {
        let bytes = stream.read(&mut buffer).ok().filter(|bytes| *bytes > 0)?;
        unread.extend_from_slice(&buffer[..bytes]);
        let mut out = Vec::new();
        while let Some((frame, length)) = next_frame(&unread).unwrap() {
            match frame.first {
                0x10 => {
                    is_v5 = frame.body[6] == 5;
                    state.connects.fetch_add(1, Ordering::Relaxed);
                    let code = u8::from(state.behaviour == Behaviour::RefusesConnect) * 5;
                    out.extend(if is_v5 {
                        vec![0x20, 3, 0, code, 0]
                    } else {
                        vec![0x20, 2, 0, code]
                    });
                }
                0x82 => subscribe(frame, is_v5, &stream, state, &mut out),
                first if first & 0xF0 == 0x30 => {
                    publish(frame, &unread[..length], state, &mut out)?
                }
                _ => {}
            }
            unread.drain(..length);
        }
        stream.write_all(&out).ok()?;
    }
}

fn subscribe(frame: Frame<'_>, is_v5: bool, to: &TcpStream, state: &State, out: &mut Vec<u8>) {
    let mut suback = frame.body[..2].to_vec();
    let mut rest = &frame.body[2..];
    if is_v5 {
        suback.push(0);
        rest = &rest[1..];
    }
    let mut subscribers = state.subscribers.lock().unwrap();
    while !rest.is_empty() {
        let end = 2 + usize::from(u16::from_be_bytes([rest[0], rest[1]]));
        let filter = rest[2..end].to_vec();
        subscribers.entry(filter).or_default().push(to.try_clone().unwrap());
        let refuses = state.behaviour == Behaviour::RefusesSubscribe;
        suback.push(if refuses { 0x80 } else { rest[end] });
        rest = &rest[end + 1..];
    }
    assert!(suback.len() < 128, "one byte of Remaining Length");
    out.extend([0x90, suback.len() as u8]);
    out.extend(suback);
}

fn publish(frame: Frame<'_>, packet: &[u8], state: &State, out: &mut Vec<u8>) -> Option<()> {
    if state.behaviour == Behaviour::ClosesOnPublish {
        return None;
    }
    let topic = 2 + usize::from(u16::from_be_bytes([frame.body[0], frame.body[1]]));
    if frame.first & 6 != 0 {
        let id = u16::from_be_bytes([frame.body[topic], frame.body[topic + 1]]);
        acknowledge(PUBACK, id, out);
    }
    let n = state.messages.fetch_add(1, Ordering::Relaxed);
    if state.behaviour == Behaviour::DropsNineOfTen && n % 10 != 9 {
        return Some(());
    }
    let mut subscribers = state.subscribers.lock().unwrap();
    if let Some(to) = subscribers.get_mut(&frame.body[2..topic]) {
        to.retain_mut(|stream| stream.write_all(packet).is_ok());
    }
    Some(())
}
