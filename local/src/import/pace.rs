//! How many batches are under way: fewer when DynamoDB throttles, then slowly more again.

use anyhow::{Result, anyhow};
use shared::store::StoreError;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Failures within this time of one another have one cause.
const SAME_CAUSE: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Additive increase, multiplicative decrease of the calls that are made at once.
#[derive(Debug)]
pub(super) struct Pace {
    most: usize,
    give_up_after: Duration,
    permits: Semaphore,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limit: usize,
    /// Those that no call has; the first ones are preferred.
    lanes: BTreeSet<u8>,
    /// Permits that are to be taken back when they are given back.
    owed: usize,
    successes: usize,
    last_success: Instant,
    last_decrease: Option<Instant>,
}

impl Pace {
    /// At most `most` calls at once; without a success for `give_up_after` a call gives up.
    pub(super) fn new(most: u8, give_up_after: Duration) -> Self {
        let lanes = (0..most).collect();
        let most = usize::from(most);
        let state = State {
            limit: most,
            lanes,
            owed: 0,
            successes: 0,
            last_success: Instant::now(),
            last_decrease: None,
        };
        Self { most, give_up_after, permits: Semaphore::new(most), state: Mutex::new(state) }
    }

    /// Calls DynamoDB until it succeeds, each time in a lane that no other call has at that time.
    ///
    /// # Errors
    /// It refuses the call for good, or nothing succeeded for too long.
    pub(super) async fn call<T, F>(&self, work: impl Fn(u8) -> F) -> Result<T>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut attempt = 0;
        loop {
            let permit = self.permits.acquire().await?;
            let lane = self.state().lanes.pop_first().unwrap_or_default();
            let done = work(lane).await;
            let is_owed = self.note(lane, done.is_ok());
            if is_owed {
                permit.forget();
            } else {
                drop(permit);
            }
            let error = match done {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let silent = self.state().last_success.elapsed();
            if error.is_refusal() {
                return Err(anyhow!("DynamoDB refuses: {error}"));
            }
            if silent > self.give_up_after {
                return Err(anyhow!("nothing was written for {} s: {error}", silent.as_secs()));
            }
            let ceiling = (FIRST_PAUSE * (1 << attempt.min(10))).min(LONGEST_PAUSE);
            attempt += 1;
            tokio::time::sleep(ceiling.mul_f64(jitter())).await;
        }
    }

    /// Notes an outcome; whether the permit must not be given back.
    fn note(&self, lane: u8, is_success: bool) -> bool {
        let mut state = self.state();
        state.lanes.insert(lane);
        let now = Instant::now();
        if is_success {
            state.last_success = now;
            state.successes += 1;
            if state.successes >= state.limit && state.limit < self.most {
                state.successes = 0;
                state.limit += 1;
                match state.owed {
                    0 => self.permits.add_permits(1),
                    _ => state.owed -= 1,
                }
            }
        } else if state.last_decrease.is_none_or(|last| now - last > SAME_CAUSE) {
            let limit = (state.limit / 2).max(1);
            state.owed += state.limit - limit;
            state.limit = limit;
            state.successes = 0;
            state.last_decrease = Some(now);
            let free = self.permits.forget_permits(state.owed);
            state.owed -= free;
        }
        if state.owed > 0 {
            state.owed -= 1;
            return true;
        }
        false
    }

    /// How many calls are made at once now.
    pub(super) fn limit(&self) -> usize {
        self.state().limit
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// From a half to one.
fn jitter() -> f64 {
    let random = uuid::Uuid::new_v4().as_u128() as u32;
    0.5 + f64::from(random) / f64::from(u32::MAX) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn it_halves_where_calls_fail_and_grows_where_they_succeed() {
        let pace = Pace::new(8, Duration::from_secs(3600));
        let failures = AtomicUsize::new(1);
        let fails_once = async |_: u8| match failures
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
        {
            Ok(_) => Err(StoreError::outrun("test")),
            Err(_) => Ok(()),
        };
        pace.call(fails_once).await.unwrap();
        assert_eq!((pace.limit(), pace.permits.available_permits()), (4, 4));
        for _ in 0..4 + 5 + 6 + 7 {
            pace.call(async |_| Ok(())).await.unwrap();
        }
        assert_eq!((pace.limit(), pace.permits.available_permits()), (8, 8));
    }

    #[tokio::test]
    async fn it_gives_up_without_any_success() {
        let pace = Pace::new(2, Duration::ZERO);
        let error = pace.call(async |_| Err::<(), _>(StoreError::outrun("test"))).await.unwrap_err();
        assert!(error.to_string().starts_with("nothing was written for 0 s: test"), "{error}");
    }
}
