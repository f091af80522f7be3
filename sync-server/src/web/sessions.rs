//! Who is signed in. In memory: a restart signs everybody out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, header};
use sha2::{Digest, Sha256};
use sync_proto::env::{Env, random};
use tokio::sync::watch;
use uuid::Uuid;

use super::Shared;
use super::accounts::{self, Manager, PasswordMark};

/// The cookie.
const COOKIE: &str = "evertill_session";
/// A session ends so long after it began.
pub(super) const LASTS_MS: u64 = 12 * 3_600_000;
/// Most sessions; the oldest ends when one more begins.
const SESSIONS_MAX: usize = 1_000;
/// How often the accounts of those who are signed in are looked at.
const LOOK_AT_ACCOUNTS_EVERY: Duration = Duration::from_secs(2);

#[derive(Debug, Clone)]
struct Session {
    manager: Manager,
    ends_at_ms: u64,
}

/// Sessions by the hash of their token: whoever reads the memory of a lookup's timing learns nothing of a token.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    by_token: Mutex<BTreeMap<[u8; 32], Session>>,
    ended: watch::Sender<()>,
}

impl Sessions {
    /// Begins a session and answers its token.
    pub(super) fn begin(&self, env: &dyn Env, manager: &Manager) -> String {
        let token: String = random::<32>(env).iter().map(|b| format!("{b:02x}")).collect();
        let now_ms = env.unix_ms();
        let mut sessions = self.by_token.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, s| s.ends_at_ms > now_ms);
        if sessions.len() >= SESSIONS_MAX {
            let oldest = sessions.iter().min_by_key(|(_, s)| s.ends_at_ms).map(|(token, _)| *token);
            oldest.map(|token| sessions.remove(&token));
            self.ended.send_replace(());
        }
        sessions.insert(hash(&token), Session { manager: manager.clone(), ends_at_ms: now_ms + LASTS_MS });
        token
    }

    /// Who asks, when they are signed in.
    pub(super) fn who(&self, headers: &HeaderMap, now_ms: u64) -> Option<Manager> {
        let sessions = self.by_token.lock().unwrap_or_else(PoisonError::into_inner);
        let session = sessions.get(&hash(token(headers)?))?;
        (session.ends_at_ms > now_ms).then(|| session.manager.clone())
    }

    /// Ends the session of who asks.
    pub(super) fn end(&self, headers: &HeaderMap) {
        if let Some(token) = token(headers) {
            self.by_token.lock().unwrap_or_else(PoisonError::into_inner).remove(&hash(token));
            self.ended.send_replace(());
        }
    }

    /// Who is signed in, and with which of their passwords.
    fn signed_in(&self) -> BTreeSet<(Uuid, PasswordMark)> {
        let sessions = self.by_token.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.values().map(|s| (s.manager.id, s.manager.password)).collect()
    }

    /// Ends all sessions of some managers that began with those passwords.
    fn end_all(&self, of: &BTreeSet<(Uuid, PasswordMark)>) {
        let mut sessions = self.by_token.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, s| !of.contains(&(s.manager.id, s.manager.password)));
        self.ended.send_replace(());
    }

    /// Changes whenever some session was ended; when one ends with its time, nothing says so.
    pub(super) fn ended(&self) -> watch::Receiver<()> {
        self.ended.subscribe()
    }
}

/// Signs out whoever signed in with a password that holds no more: accounts are in the central database, where every server finds them and
/// an operator sets passwords anew. While it is away, sessions go on, and nobody sets one.
pub(super) async fn follow_accounts(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(LOOK_AT_ACCOUNTS_EVERY).await;
        let signed_in = shared.sessions.signed_in();
        if signed_in.is_empty() {
            continue;
        }
        match accounts::outdated(&shared.central, signed_in).await {
            Ok(outdated) if outdated.is_empty() => {}
            Ok(outdated) => {
                tracing::info!(managers = outdated.len(), "signed out: their passwords were set anew");
                shared.sessions.end_all(&outdated);
            }
            Err(error) => tracing::debug!(%error, "accounts are looked at again later"),
        }
    }
}

/// The `Set-Cookie` of a token; an empty one takes it back.
pub(super) fn cookie(token: &str, secure: bool) -> String {
    let seconds = if token.is_empty() { 0 } else { LASTS_MS / 1_000 };
    let secure = if secure { "; Secure" } else { "" };
    format!("{COOKIE}={token}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
}

fn token(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[derive(Debug, Default)]
    struct Fake(AtomicU64, AtomicU64);

    impl Env for Fake {
        fn unix_ms(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }
        fn fill_random(&self, out: &mut [u8]) {
            out.fill(0);
            out[..8].copy_from_slice(&self.1.fetch_add(1, Ordering::Relaxed).to_le_bytes());
        }
    }

    fn with(token: &str) -> HeaderMap {
        let value = format!("theme=dark; {COOKIE}={token}").parse().expect("a header");
        HeaderMap::from_iter([(header::COOKIE, value)])
    }

    fn ada() -> Manager {
        Manager { id: Uuid::from_u128(1), name: "Ada".to_owned(), password: [1; 32] }
    }

    #[test]
    fn a_session_is_known_until_it_ends() {
        let (env, sessions) = (Fake::default(), Sessions::default());
        let token = sessions.begin(&env, &ada());
        assert_eq!(sessions.who(&with(&token), LASTS_MS - 1), Some(ada()));
        assert_eq!(sessions.who(&with(&token), LASTS_MS), None);
        for wrong in ["", "x", &token[1..]] {
            assert_eq!(sessions.who(&with(wrong), 0), None, "{wrong:?}");
        }
        sessions.end(&with(&token));
        assert_eq!(sessions.who(&with(&token), 0), None);
        assert_eq!(sessions.who(&HeaderMap::new(), 0), None);
    }

    #[test]
    fn sessions_end_with_the_password_they_began_with() {
        let (env, sessions) = (Fake::default(), Sessions::default());
        let (old, new) = (ada(), Manager { password: [2; 32], ..ada() });
        let tokens = [&old, &new, &old].map(|manager| sessions.begin(&env, manager));
        let mut ended = sessions.ended();
        ended.mark_unchanged();
        sessions.end_all(&[(old.id, old.password)].into());
        assert!(ended.has_changed().expect("it is there"), "those who watch are told");
        assert_eq!(tokens.map(|token| sessions.who(&with(&token), 0)), [None, Some(new.clone()), None]);
        assert_eq!(sessions.signed_in(), [(new.id, new.password)].into());
    }

    #[test]
    fn the_oldest_session_gives_way() {
        let (env, sessions) = (Fake::default(), Sessions::default());
        let tokens: Vec<_> = (0..=SESSIONS_MAX)
            .map(|n| {
                env.0.store(n as u64, Ordering::Relaxed);
                sessions.begin(&env, &ada())
            })
            .collect();
        assert_eq!(sessions.who(&with(&tokens[0]), 5), None);
        assert!(sessions.who(&with(&tokens[1]), 5).is_some());
    }
}
