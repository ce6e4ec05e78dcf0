//! When tokens are used and refused (CONTRACT.md, section 5): noted beside the request, seldom, and
//! as well as it goes. No answer waits for it, and none fails with it.

use crate::error::Refusal;
use crate::model::{Timestamp, TokenId};
use crate::store::Store;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A use is noted again after this long. What is stored is then less than twice as old, and
/// `lastUsedDate` at most an hour behind.
const USED_AGAIN: Duration = Duration::from_secs(25 * 60);
/// A refusal of the same token, address and reason is noted again after this long.
const REFUSED_AGAIN: Duration = Duration::from_secs(60);
/// A token's refusals are noted this often within [`REFUSED_AGAIN`], whatever the addresses: a token
/// that leaked must not cost a write an attempt.
const REFUSED_MAX: u32 = 5;
const REMEMBERED_MAX: usize = 1000;

/// Notes uses and refusals. Cheap to clone; clones share what they remember.
#[derive(Clone, Debug)]
pub struct Activity {
    store: Store,
    used: Arc<Mutex<HashMap<TokenId, Instant>>>,
    refused: Arc<Mutex<Refusals>>,
}

#[derive(Debug, Default)]
struct Refusals {
    alike: HashMap<(TokenId, Option<IpAddr>, &'static str), Instant>,
    of_token: HashMap<TokenId, (Instant, u32)>,
}

impl Activity {
    /// Remembers nothing yet.
    pub fn new(store: Store) -> Self {
        Self { store, used: Arc::default(), refused: Arc::default() }
    }

    /// A token was used. The write begins now, and the answer does not wait for it.
    pub fn used(&self, token: &TokenId) {
        {
            let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
            if used.get(token).is_some_and(|since| since.elapsed() < USED_AGAIN) {
                return;
            }
            remember(&mut used, token.clone(), Instant::now());
        }
        let (activity, token) = (self.clone(), token.clone());
        tokio::spawn(async move {
            let now = Timestamp::now();
            let since = Timestamp::clamped(now.millis() - USED_AGAIN.as_millis() as i64);
            if activity.store.note_used(&token, now, since).await.is_err() {
                // The next use tries again.
                activity.used.lock().unwrap_or_else(PoisonError::into_inner).remove(&token);
            }
        });
    }

    /// A token that exists was refused.
    pub fn refused(&self, token: &TokenId, address: Option<IpAddr>, reason: Refusal) {
        if !self.refused.lock().unwrap_or_else(PoisonError::into_inner).note(token, address, reason) {
            return;
        }
        let (store, token) = (self.store.clone(), token.clone());
        tokio::spawn(async move { store.note_refused(&token, address, reason, Timestamp::now()).await });
    }
}

impl Refusals {
    /// Whether this one is to be stored.
    fn note(&mut self, token: &TokenId, address: Option<IpAddr>, reason: Refusal) -> bool {
        let alike = (token.clone(), address, reason.as_str());
        if self.alike.get(&alike).is_some_and(|since| since.elapsed() < REFUSED_AGAIN) {
            return false;
        }
        let (since, count) = self.of_token.get(token).copied().unwrap_or((Instant::now(), 0));
        let (since, count) =
            if since.elapsed() < REFUSED_AGAIN { (since, count) } else { (Instant::now(), 0) };
        if count >= REFUSED_MAX {
            return false;
        }
        remember(&mut self.of_token, token.clone(), (since, count + 1));
        remember(&mut self.alike, alike, Instant::now());
        true
    }
}

fn remember<K: Eq + Hash, V>(memory: &mut HashMap<K, V>, key: K, value: V) {
    if memory.len() >= REMEMBERED_MAX {
        memory.clear();
    }
    memory.insert(key, value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Token;

    #[test]
    fn refusals_alike_are_noted_once_and_a_tokens_refusals_a_few_times() {
        let token = Token::generate().unwrap().digest().token_id();
        let address = |last: u8| Some(IpAddr::from([203, 0, 113, last]));
        let mut refusals = Refusals::default();
        assert!(refusals.note(&token, address(1), Refusal::Address));
        assert!(!refusals.note(&token, address(1), Refusal::Address));
        assert!(refusals.note(&token, address(1), Refusal::Expired));
        let noted = (2..100).filter(|last| refusals.note(&token, address(*last), Refusal::Address)).count();
        assert_eq!(noted, 3);
        let other = Token::generate().unwrap().digest().token_id();
        assert!(refusals.note(&other, address(1), Refusal::Address));
    }
}
