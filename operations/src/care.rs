//! The pace at which a program looks after its files beside its work: in small steps with pauses between them, so that whoever waits for it has their turn.

use std::time::Duration;

/// Between two steps.
const STEP_AGAIN: Duration = Duration::from_millis(20);
/// Until it is tried again what could not be done; what waits for others begins with it and doubles up to [`WAIT_MAX`].
const WAIT_MIN: Duration = Duration::from_secs(5);
/// The longest wait.
const WAIT_MAX: Duration = Duration::from_secs(600);
/// How often it is looked whether there is something to do.
pub const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// How a step of care ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Care {
    /// There is more to do.
    More,
    /// What is left waits for entries that come from elsewhere.
    Waits,
    /// There is nothing to do.
    Done,
    /// There is nothing to do for so long.
    DoneFor(Duration),
}

/// When the next step is due.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    look_again: Duration,
    wait: Duration,
}

impl Pace {
    /// Looks again after so long when there is nothing to do.
    pub fn new(look_again: Duration) -> Self {
        Self { look_again, wait: WAIT_MIN }
    }

    /// The pause after a step; none of one that could not be done.
    pub fn after(&mut self, step: Option<Care>) -> Duration {
        match step {
            Some(Care::More) => {
                self.wait = WAIT_MIN;
                STEP_AGAIN
            }
            Some(Care::Waits) => {
                let now = self.wait;
                self.wait = (self.wait * 2).min(WAIT_MAX);
                now
            }
            Some(Care::Done) => self.look_again,
            Some(Care::DoneFor(pause)) => pause,
            None => WAIT_MIN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_looked_at_less_and_less_often_until_it_has_come() {
        let mut pace = Pace::new(LOOK_AGAIN);
        let mut waits = |care, n: usize| (0..n).map(|_| pace.after(care).as_millis()).collect::<Vec<_>>();
        assert_eq!(waits(Some(Care::Waits), 9), [5, 10, 20, 40, 80, 160, 320, 600, 600].map(|s| s * 1_000));
        assert_eq!(waits(Some(Care::More), 2), [20, 20]);
        assert_eq!(waits(Some(Care::Waits), 1), [5_000], "it begins anew");
        assert_eq!(waits(Some(Care::Done), 2), [60_000, 60_000]);
        assert_eq!(waits(None, 2), [5_000, 5_000]);
        assert_eq!(waits(Some(Care::DoneFor(Duration::from_millis(250))), 1), [250]);
    }
}
