//! Time: delayed wills and messages, and Session Expiry, by the clock of whoever proposes to look.

use super::SHARDS;
use super::apply::Applying;
use super::batch::OperationOutcome;
use super::leave::take_will;
use crate::types::Millis;

impl Applying<'_> {
    pub(super) fn expire(&mut self, sessions_max: u32) -> OperationOutcome {
        let mut left = sessions_max - self.publish_delayed(sessions_max);
        for number in 0..SHARDS {
            while left > 0 {
                let due = self.store.shard_at(number).due(self.now);
                let Some(key) = due else { break };
                left -= 1;
                let (now, mut will, mut is_over) = (self.now, None, false);
                self.store.shard_at(number).change(key.as_str(), |record| {
                    if record.will_at <= now {
                        record.will_at = Millis::NEVER;
                        will = take_will(record);
                    }
                    is_over = record.expires_at <= now;
                });
                if let Some(will) = will {
                    self.publish_will(will);
                }
                if is_over {
                    self.control.totals.expired += 1;
                    self.end_session(key.as_str());
                }
            }
        }
        OperationOutcome::Done
    }
}
