//! Verifies costly passwords on threads of their own, and remembers which ones were right.
//!
//! What is remembered is a keyed hash over the record's hash and the password, under a secret that
//! the process draws at its start and never shows: it proves nothing outside this process, and a
//! changed record has another hash, so that an old success is never found again.

use std::collections::HashSet;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};

use broker_policy::PasswordHash;
use ring::hmac;
use ring::rand::SystemRandom;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use crate::sync::lock;

/// Verifications that wait for a thread; at some 50 ms each, this is what a client may wait for.
pub const VERIFICATIONS_MAX: usize = 256;

/// Successes remembered in one generation; there are two.
const REMEMBERED_MAX: usize = 50_000;

/// Why no verification took place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordPoolError {
    /// As many verifications wait as may.
    #[error("too many passwords wait for verification")]
    Busy,
    /// The threads are gone: the process ends.
    #[error("the password pool has stopped")]
    Stopped,
}

type Fingerprint = [u8; 32];

/// The threads and the memory, shared by all workers.
pub struct PasswordPool {
    jobs: SyncSender<Job>,
    secret: hmac::Key,
    remembered: Arc<Mutex<Remembered>>,
}

impl std::fmt::Debug for PasswordPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordPool")
    }
}

struct Job {
    hash: PasswordHash,
    password: Zeroizing<Vec<u8>>,
    fingerprint: Fingerprint,
    reply: oneshot::Sender<bool>,
}

/// Successes in two generations: the older one is forgotten when the newer one is full, and what
/// is used moves to the newer one.
#[derive(Default)]
struct Remembered {
    newer: HashSet<Fingerprint>,
    older: HashSet<Fingerprint>,
}

impl Remembered {
    fn contains(&mut self, fingerprint: &Fingerprint) -> bool {
        if self.newer.contains(fingerprint) {
            return true;
        }
        let known = self.older.remove(fingerprint);
        if known {
            self.insert(*fingerprint);
        }
        known
    }

    fn insert(&mut self, fingerprint: Fingerprint) {
        if self.newer.len() >= REMEMBERED_MAX {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(fingerprint);
    }
}

impl PasswordPool {
    /// Starts `threads` threads.
    ///
    /// # Errors
    /// The system gives no random bytes or no thread.
    pub fn start(threads: usize) -> std::io::Result<Self> {
        let secret = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map_err(|_| std::io::Error::other("the system gives no random bytes"))?;
        let (jobs, queue) = sync_channel(VERIFICATIONS_MAX);
        let queue = Arc::new(Mutex::new(queue));
        let remembered = Arc::new(Mutex::new(Remembered::default()));
        for number in 0..threads.max(1) {
            let (queue, remembered) = (Arc::clone(&queue), Arc::clone(&remembered));
            std::thread::Builder::new()
                .name(format!("password-{number}"))
                .spawn(move || verify_all(&queue, &remembered))?;
        }
        Ok(Self { jobs, secret, remembered })
    }

    /// Whether this password was found right for this hash before.
    #[must_use]
    pub fn remembers(&self, hash: &PasswordHash, password: &[u8]) -> bool {
        let fingerprint = self.fingerprint(hash, password);
        lock(&self.remembered).contains(&fingerprint)
    }

    /// Verifies on another thread. Dropping the receiver gives the answer up, not the work.
    ///
    /// # Errors
    /// [`PasswordPoolError`]: nothing was started.
    pub fn verify(
        &self,
        hash: PasswordHash,
        password: Zeroizing<Vec<u8>>,
    ) -> Result<oneshot::Receiver<bool>, PasswordPoolError> {
        let fingerprint = self.fingerprint(&hash, &password);
        let (reply, answer) = oneshot::channel();
        match self.jobs.try_send(Job { hash, password, fingerprint, reply }) {
            Ok(()) => Ok(answer),
            Err(TrySendError::Full(_)) => Err(PasswordPoolError::Busy),
            Err(TrySendError::Disconnected(_)) => Err(PasswordPoolError::Stopped),
        }
    }

    fn fingerprint(&self, hash: &PasswordHash, password: &[u8]) -> Fingerprint {
        let text = hash.as_str().as_bytes();
        let mut context = hmac::Context::with_key(&self.secret);
        // The length keeps one pair of texts from reading like another.
        context.update(&(text.len() as u64).to_be_bytes());
        context.update(text);
        context.update(password);
        let mut fingerprint = Fingerprint::default();
        fingerprint.copy_from_slice(context.sign().as_ref());
        fingerprint
    }
}

fn verify_all(queue: &Mutex<Receiver<Job>>, remembered: &Mutex<Remembered>) {
    loop {
        // One thread at a time waits for a job, holding the queue; the others wait for the queue.
        let received = lock(queue).recv();
        let Ok(job) = received else { return };
        if job.reply.is_closed() {
            continue;
        }
        let is_right = job.hash.verify(&job.password);
        if is_right {
            lock(remembered).insert(job.fingerprint);
        }
        // The connection may be gone by now.
        let _ = job.reply.send(is_right);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(password: &[u8], salt: u8) -> PasswordHash {
        PasswordHash::pbkdf2_sha512(password, &[salt; 16], 100).unwrap()
    }

    fn verify(pool: &PasswordPool, hash: &PasswordHash, password: &[u8]) -> bool {
        let password = Zeroizing::new(password.to_vec());
        pool.verify(hash.clone(), password).unwrap().blocking_recv().unwrap()
    }

    #[test]
    fn a_right_password_is_remembered_until_the_record_changes() {
        let pool = PasswordPool::start(1).unwrap();
        let record = hash(b"secret", 1);
        assert!(!pool.remembers(&record, b"secret"));
        assert!(verify(&pool, &record, b"secret"));
        assert!(pool.remembers(&record, b"secret"));
        assert!(!pool.remembers(&hash(b"secret", 2), b"secret"), "another salt is another record");
    }

    #[test]
    fn a_wrong_password_is_not_remembered() {
        let pool = PasswordPool::start(1).unwrap();
        let record = hash(b"secret", 1);
        assert!(!verify(&pool, &record, b"guess"));
        assert!(!pool.remembers(&record, b"guess"));
    }

    #[test]
    fn memory_is_bounded_and_keeps_what_is_used() {
        let mut remembered = Remembered::default();
        let print = |n: usize| {
            let mut print = Fingerprint::default();
            print[..8].copy_from_slice(&n.to_be_bytes());
            print
        };
        for n in 0..3 * REMEMBERED_MAX {
            remembered.insert(print(n));
            assert!(remembered.contains(&print(0)), "used each time, at {n}");
        }
        assert!(remembered.newer.len() + remembered.older.len() <= 2 * REMEMBERED_MAX + 1);
        assert!(!remembered.contains(&print(1)));
    }

    #[test]
    fn a_full_queue_refuses_at_once() {
        // No thread takes from this queue.
        let (jobs, _queue) = sync_channel(1);
        let secret = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).unwrap();
        let pool = PasswordPool { jobs, secret, remembered: Arc::default() };
        let record = hash(b"secret", 1);
        let ask = || pool.verify(record.clone(), Zeroizing::new(b"secret".to_vec())).map(drop);
        assert_eq!(ask(), Ok(()));
        assert_eq!(ask(), Err(PasswordPoolError::Busy));
    }
}
