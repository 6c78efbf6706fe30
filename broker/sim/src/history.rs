//! All that has happened, and what was found wrong with it.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::count::{Count, Tally};
use crate::counting;
use crate::environment::elapsed;
use crate::event::Event;
use crate::invariant::Invariant;
use crate::oracle::Oracle;

/// The history of one simulation. A clone is the same one.
#[derive(Clone)]
pub(crate) struct History(Arc<Mutex<State>>);

struct State {
    events: Vec<(Duration, Event)>,
    invariants: Vec<Box<dyn Invariant>>,
    oracle: Oracle,
    violation: Option<String>,
    tally: Tally,
}

impl History {
    pub(crate) fn new(invariants: Vec<Box<dyn Invariant>>, tally: Tally) -> Self {
        let oracle = Oracle::default();
        Self(Arc::new(Mutex::new(State {
            events: Vec::new(),
            invariants,
            oracle,
            violation: None,
            tally,
        })))
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Something has happened.
    pub(crate) fn note(&self, event: Event) {
        self.with(|state| {
            let at = elapsed();
            state.oracle.observe(&event);
            counting::count(&event, &state.oracle, &state.tally);
            for invariant in &mut state.invariants {
                if let Err(what) = invariant.observe(&event)
                    && state.violation.is_none()
                {
                    state.violation = Some(format!("{}: {what}", invariant.name()));
                }
            }
            state.events.push((at, event));
        });
    }

    /// Something has happened that no event says.
    pub(crate) fn count(&self, count: Count) {
        self.with(|state| state.tally.count(count));
    }

    /// Something is wrong that no invariant of its own looks after.
    pub(crate) fn violate(&self, what: String) {
        self.with(|state| {
            state.violation.get_or_insert(what);
        });
    }

    /// Nothing more happens: looks at the whole.
    pub(crate) fn end(&self) {
        self.with(|state| {
            for invariant in &mut state.invariants {
                if let Err(what) = invariant.end(&state.oracle)
                    && state.violation.is_none()
                {
                    state.violation = Some(format!("{}: {what}", invariant.name()));
                }
            }
        });
    }

    /// What was found wrong first.
    pub(crate) fn violation(&self) -> Option<String> {
        self.with(|state| state.violation.clone())
    }

    /// Looks at what the clients know.
    pub(crate) fn oracle<T>(&self, look: impl FnOnce(&Oracle) -> T) -> T {
        self.with(|state| look(&state.oracle))
    }

    /// The events, one a line.
    pub(crate) fn render(&self) -> String {
        self.with(|state| {
            let mut text = String::new();
            for (at, event) in &state.events {
                // Writing into a text can't fail.
                let _ = writeln!(text, "{:>12.6} {event}", at.as_secs_f64());
            }
            text
        })
    }
}
