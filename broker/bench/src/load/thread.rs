//! One thread of the generator: a current-thread runtime, whole groups of connections, no lock.

use std::cell::RefCell;
use std::future::poll_fn;
use std::ops::Range;
use std::rc::Rc;
use std::sync::mpsc::{Receiver as Start, SyncSender};
use std::task::Poll;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt};
use tokio::task::{JoinSet, LocalSet};

use super::connect::{Opened, discard, open};
use super::pace::Pace;
use super::receiver::{Receiver, Windows};
use super::sender::Sender;
use super::shared::{Phase, Shared};
use super::{Settings, connect};
use crate::connection::{Connection, scratch};
use crate::process::runtime;
use crate::tally::Tally;
use crate::window::Window;
use crate::wire::PINGREQ;

/// Connections that are opened at a time.
const OPENING_MAX: usize = 32;
/// How often a thread looks at the phase, and at its windows.
const TICK: Duration = Duration::from_millis(20);
/// The same when there is a rate to keep.
const PACED_TICK: Duration = Duration::from_millis(1);
/// A window in which nothing moves for so long has lost what is in it.
const STALLED: Duration = Duration::from_secs(2);
/// How long the messages on their way are awaited at the end.
const DRAIN: Duration = Duration::from_secs(5);
/// A subscriber that wrote nothing for so long sends PINGREQ.
const PING_AFTER_NANOS: u64 = 60_000_000_000;

/// Runs the groups until the phase says stop. `ready` is told when all connections stand, `start` when publishing may begin.
pub(super) fn run(
    settings: &Settings,
    groups: Range<usize>,
    shared: &Shared,
    ready: &SyncSender<Result<()>>,
    start: &Start<()>,
) -> Result<Tally> {
    let runtime = runtime()?;
    LocalSet::new().block_on(&runtime, async {
        let windows: Vec<Windows> = groups.clone().map(|_| settings.windows()).collect();
        let opened = open_all(settings, &groups).await;
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) => {
                let _ = ready.send(Err(error));
                return Tally::new();
            }
        };
        let _ = ready.send(Ok(()));
        if start.recv().is_err() {
            // Another thread failed.
            return Tally::new();
        }
        let tally = Rc::new(RefCell::new(Tally::new()?));
        let mut tasks = JoinSet::new();
        for opened in opened {
            let windows = Rc::clone(&windows[opened.group - groups.start]);
            spawn(&mut tasks, settings, opened, windows, shared.clone(), Rc::clone(&tally));
        }
        let pace = settings
            .rate
            .map(|rate| Pace::new(rate * groups.len() as f64 / settings.plan.groups as f64));
        watch(&mut tasks, pace, &windows, shared).await?;
        drop(tasks);
        if settings.is_durable {
            discard_all(settings, &groups).await?;
        }
        for window in windows.iter().flat_map(|group| group.iter()) {
            let mut window = window.borrow_mut();
            window.give_up();
            tally.borrow_mut().lost += window.lost();
            tally.borrow_mut().skipped += window.skipped();
        }
        let tally = tally.borrow().clone();
        Ok(tally)
    })
}

async fn open_all(settings: &Settings, groups: &Range<usize>) -> Result<Vec<Opened>> {
    let scratch = scratch();
    let places = groups.clone().flat_map(|group| connect::places(&settings.plan, group));
    futures::stream::iter(places.map(|place| open(settings, place, scratch.clone())))
        .buffer_unordered(OPENING_MAX)
        .try_collect()
        .await
}

/// Ends what the subscribers' sessions would be kept for.
async fn discard_all(settings: &Settings, groups: &Range<usize>) -> Result<()> {
    let scratch = scratch();
    let places = groups.clone().flat_map(|group| connect::places(&settings.plan, group));
    let subscribers = places.filter(connect::Place::is_subscriber);
    futures::stream::iter(subscribers.map(|place| discard(settings, place, scratch.clone())))
        .buffer_unordered(OPENING_MAX)
        .try_collect()
        .await
}

fn spawn(
    tasks: &mut JoinSet<Result<()>>,
    settings: &Settings,
    opened: Opened,
    windows: Windows,
    shared: Shared,
    tally: Rc<RefCell<Tally>>,
) {
    match opened.publisher {
        None => {
            let receiver = Receiver::new(settings.target.version, windows);
            tasks.spawn_local(receive(opened.connection, receiver, shared, tally));
        }
        Some((publisher, template)) => {
            let sender =
                Sender::new(template, settings.qos, publisher as u32, opened.receive_maximum);
            tasks.spawn_local(publish(opened.connection, sender, windows, publisher, shared));
        }
    }
}

async fn publish(
    mut connection: Connection,
    mut sender: Sender,
    windows: Windows,
    publisher: usize,
    shared: Shared,
) -> Result<()> {
    poll_fn(|cx| {
        loop {
            while let Poll::Ready(read) =
                connection.poll_frames(cx, |frame, out| sender.handle(frame, out))
            {
                read?;
            }
            if connection.poll_flush(cx)?.is_pending() {
                return Poll::Pending;
            }
            let mut window = windows[publisher].borrow_mut();
            if shared.phase() != Phase::Stop {
                sender.fill(&mut window, shared.nanos(), connection.output());
            }
            if connection.output().is_empty() {
                window.park(cx.waker());
                return Poll::Pending;
            }
        }
    })
    .await
}

async fn receive(
    mut connection: Connection,
    mut receiver: Receiver,
    shared: Shared,
    tally: Rc<RefCell<Tally>>,
) -> Result<()> {
    let mut written_at = 0;
    poll_fn(|cx| {
        loop {
            let mut count = 0;
            let mut read_at = None;
            let read = connection.poll_frames(cx, |frame, out| {
                // One look at the clock serves all that came with one read.
                let now = *read_at.get_or_insert_with(|| shared.nanos());
                let measured = (shared.phase() == Phase::Measure).then_some(now);
                count += receiver.handle(frame, measured, &mut tally.borrow_mut(), out)?;
                Ok(())
            });
            shared.count(count);
            if let Some(now) = read_at {
                if !connection.output().is_empty() {
                    written_at = now;
                } else if now - written_at > PING_AFTER_NANOS {
                    connection.output().extend(PINGREQ);
                    written_at = now;
                }
            }
            // What can't be written yet is written when the socket takes it; reading goes on, or both sides might wait.
            let _ = connection.poll_flush(cx)?;
            match read {
                Poll::Ready(read) => read?,
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}

/// Keeps the pace and looks for losses, until the phase is over and what was on its way has arrived.
async fn watch(
    tasks: &mut JoinSet<Result<()>>,
    mut pace: Option<Pace>,
    groups: &[Windows],
    shared: &Shared,
) -> Result<()> {
    let began = Instant::now();
    let mut ticks = tokio::time::interval(if pace.is_some() { PACED_TICK } else { TICK });
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut stalls = Stalls::new(groups);
    let mut stopped: Option<Instant> = None;
    loop {
        tokio::select! {
            Some(ended) = tasks.join_next() => ended.context("a connection's task")??,
            _ = ticks.tick() => {}
        }
        if shared.phase() == Phase::Stop {
            let since = *stopped.get_or_insert_with(Instant::now);
            let in_flight = |window: &RefCell<Window>| window.borrow().in_flight() > 0;
            if since.elapsed() > DRAIN || !groups.iter().flat_map(|g| g.iter()).any(in_flight) {
                return Ok(());
            }
        } else {
            stalls.look(groups);
            if let Some(pace) = &mut pace {
                pace.grant(began.elapsed().as_nanos() as u64, shared.nanos(), groups);
            }
        }
    }
}

/// When each window moved last.
struct Stalls(Vec<(u64, Instant)>);

impl Stalls {
    fn new(groups: &[Windows]) -> Self {
        Self(groups.iter().flat_map(|g| g.iter()).map(|_| (0, Instant::now())).collect())
    }

    fn look(&mut self, groups: &[Windows]) {
        let windows = groups.iter().flat_map(|g| g.iter());
        for ((done, since), window) in self.0.iter_mut().zip(windows) {
            let mut window = window.borrow_mut();
            if window.in_flight() == 0 || window.done() != *done {
                (*done, *since) = (window.done(), Instant::now());
            } else if since.elapsed() > STALLED {
                window.give_up();
            }
        }
    }
}
