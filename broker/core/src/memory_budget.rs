//! When memory counts as scarce. Pure: how much is in use comes in, what follows goes out.
//!
//! The system says how much memory the process has. An allocator gives little of what is freed back
//! to the system, so that number alone would never fall again. What messages and buffers take is
//! known: when they get fewer and the process stays as large, the difference is free within it.
//!
//! That account drifts: an allocator that gives memory back late and takes it again makes the process
//! grow where nothing new is held. So when messages have taken next to nothing for a while, and the
//! process hasn't grown, holding publishers back can't free anything more, and the rest is taken to
//! be free; if it isn't, the process grows, and that counts off.

use crate::engine::Pressure;

/// Percent of the budget from which the heaviest publishers wait.
const SLOW_PERCENT: u64 = 70;
/// Percent of the budget from which nobody new comes in.
const REFUSE_PERCENT: u64 = 85;
/// Percent of the budget by which use must fall below a mark until it counts as left, so that it
/// isn't passed again at once.
const RETURN_PERCENT: u64 = 5;
/// Percent of the budget from which it matters what is held.
const LOOK_PERCENT: u64 = 60;

/// Percent of the budget that messages and buffers may take while there is next to nothing to wait for.
const LITTLE_PERCENT: u64 = 5;
/// Looks in a row with little held and no growth after which what is above the first mark is taken
/// to be free.
const QUIET_LOOKS: u32 = 10;
/// The same above the second mark, where it may be clients and not messages that take it: they come
/// in by a few then, and no more if it was so.
const QUIET_LOOKS_REFUSING: u32 = 100;

/// What was found at one moment, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// What the process has of the system.
    pub resident: u64,
    /// What messages and buffers of the broker take of that, as far as it is known; a message may
    /// count more than once.
    pub held: u64,
}

/// What the process may use, and how scarce that was when it was looked at last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryBudget {
    bytes: u64,
    pressure: Pressure,
    last: Option<MemoryUse>,
    /// Bytes that the process has of the system and that nothing takes.
    free: u64,
    /// Looks in a row with little held and no growth.
    quiet: u32,
}

impl MemoryBudget {
    /// A budget of so many bytes, of which nothing is used.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self { bytes, pressure: Pressure::None, last: None, free: 0, quiet: 0 }
    }

    /// Whether so much is resident that it matters what is held.
    #[must_use]
    pub const fn wants_held(&self, resident: u64) -> bool {
        resident >= self.mark(LOOK_PERCENT)
    }

    /// How scarce memory is now.
    pub fn observe(&mut self, now: MemoryUse) -> Pressure {
        self.account(now);
        let used = now.resident.saturating_sub(self.free);
        let has_passed = |percent: u64| used >= self.mark(percent);
        let has_left = |percent: u64| used < self.mark(percent - RETURN_PERCENT);
        self.pressure = match self.pressure {
            _ if has_passed(REFUSE_PERCENT) => Pressure::Refuse,
            Pressure::Refuse if !has_left(REFUSE_PERCENT) => Pressure::Refuse,
            _ if has_passed(SLOW_PERCENT) => Pressure::Slow,
            Pressure::None => Pressure::None,
            _ if has_left(SLOW_PERCENT) => Pressure::None,
            _ => Pressure::Slow,
        };
        self.pressure
    }

    /// What was let go and not given back is free; what was taken without the process growing came
    /// out of that. When the process grows, what is free does not fit: it counts off too.
    fn account(&mut self, now: MemoryUse) {
        if !self.wants_held(now.resident) {
            (self.last, self.free, self.quiet) = (None, 0, 0);
            return;
        }
        let last = self.last.replace(now).unwrap_or(now);
        let (let_go, taken) =
            (last.held.saturating_sub(now.held), now.held.saturating_sub(last.held));
        let (given_back, grown) = (
            last.resident.saturating_sub(now.resident),
            now.resident.saturating_sub(last.resident),
        );
        self.free = self
            .free
            .saturating_add(let_go)
            .saturating_sub(given_back)
            .saturating_sub(taken.saturating_sub(grown))
            .saturating_sub(grown)
            .min(now.resident.saturating_sub(now.held));
        let is_quiet = grown == 0 && now.held < self.mark(LITTLE_PERCENT);
        self.quiet = if is_quiet { self.quiet.saturating_add(1) } else { 0 };
        self.presume(now);
    }

    /// Ends a wait for which there is no reason left.
    fn presume(&mut self, now: MemoryUse) {
        let used = now.resident.saturating_sub(self.free);
        let is_refusing = used >= self.mark(REFUSE_PERCENT);
        if self.quiet >= if is_refusing { QUIET_LOOKS_REFUSING } else { QUIET_LOOKS } {
            let left = self.mark(SLOW_PERCENT - RETURN_PERCENT).saturating_sub(1);
            self.free = self.free.max(now.resident.saturating_sub(left));
            self.quiet = 0;
        }
    }

    const fn mark(&self, percent: u64) -> u64 {
        self.bytes / 100 * percent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mark_is_passed_upwards_at_once_and_left_only_well_below_it() {
        let mut budget = MemoryBudget::new(1_000);
        let steps = [
            (0, Pressure::None),
            (699, Pressure::None),
            (700, Pressure::Slow),
            (660, Pressure::Slow),
            (649, Pressure::None),
            (660, Pressure::None),
            (900, Pressure::Refuse),
            (800, Pressure::Refuse),
            (799, Pressure::Slow),
            (849, Pressure::Slow),
            (850, Pressure::Refuse),
            (10, Pressure::None),
            (u64::MAX, Pressure::Refuse),
            (660, Pressure::Slow),
        ];
        for (resident, expected) in steps {
            assert_eq!(budget.observe(MemoryUse { resident, held: 300 }), expected, "{resident}");
        }
    }

    #[test]
    fn a_wait_ends_when_there_is_nothing_left_to_wait_for() {
        let waiting = |resident| {
            let mut budget = MemoryBudget::new(1_000);
            budget.observe(MemoryUse { resident: 600, held: 500 });
            for _ in 0..2 * QUIET_LOOKS_REFUSING {
                let pressure = budget.observe(MemoryUse { resident, held: 400 });
                assert_ne!(pressure, Pressure::None, "messages wait");
            }
            let now = MemoryUse { resident, held: 0 };
            // What was let go is not counted as free: it was taken and let go again unseen.
            budget.last = Some(now);
            (1..1_000).position(|_| budget.observe(now) == Pressure::None)
        };
        assert_eq!(waiting(800), Some(QUIET_LOOKS as usize - 1));
        for resident in [900, 2_000] {
            assert_eq!(waiting(resident), Some(QUIET_LOOKS_REFUSING as usize - 1));
        }
    }

    #[test]
    fn what_is_presumed_to_be_free_and_is_not_makes_the_process_grow_and_counts_off() {
        let mut budget = MemoryBudget::new(1_000);
        let mut at = |resident, held| budget.observe(MemoryUse { resident, held });
        let looks = (0..=QUIET_LOOKS).map(|_| at(800, 0)).last();
        assert_eq!(looks, Some(Pressure::None));
        assert_eq!(at(830, 30), Pressure::Slow);
    }

    #[test]
    fn what_is_freed_within_the_process_is_not_scarce_and_growth_beyond_it_is() {
        let mut budget = MemoryBudget::new(1_000);
        let mut at = |resident, held| budget.observe(MemoryUse { resident, held });
        assert_eq!(at(600, 500), Pressure::None);
        assert_eq!(at(900, 800), Pressure::Refuse);
        assert_eq!(at(900, 600), Pressure::Slow, "700 in use");
        assert_eq!(at(900, 100), Pressure::None, "200 in use");
        assert_eq!(at(900, 500), Pressure::None, "600 in use, out of what was free");
        assert_eq!(at(900, 650), Pressure::Slow, "750 in use");
        assert_eq!(at(950, 650), Pressure::Refuse, "it grows: 850, and what is free doesn't fit");
    }

    #[test]
    fn messages_that_count_many_times_do_not_hide_that_the_process_grows() {
        let mut budget = MemoryBudget::new(1_000);
        let mut at = |resident, held| budget.observe(MemoryUse { resident, held });
        at(800, 1_000_000);
        assert_eq!(at(800, 0), Pressure::None);
        let steps = (0..=5).map(|step| at(800 + 50 * step, 0));
        assert_eq!(steps.last(), Some(Pressure::None));
        // The system gives no more than the budget's end before that is noticed.
        let noticed = (0..200)
            .map(|step| 1_050 + 10 * step)
            .find(|&resident| at(resident, 0) != Pressure::None);
        assert!(noticed.is_some_and(|resident| resident < 1_300), "{noticed:?}");
    }
}
