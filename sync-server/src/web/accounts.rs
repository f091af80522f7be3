//! Managers' accounts in the central database.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use sha2::{Digest, Sha256};
use sync_proto::env::{Env, random};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::central::{CentralError, Postgres, in_time};

/// Longest name in bytes.
pub const NAME_BYTES_MAX: usize = 64;
/// Shortest password in characters.
pub const PASSWORD_CHARS_MIN: usize = 8;
/// Longest password in bytes.
pub const PASSWORD_BYTES_MAX: usize = 1_024;

/// How many passwords are hashed at once; each takes 19 MiB for a moment.
const HASHES_AT_ONCE: usize = 2;
/// How long the database may take.
const ANSWER_WAIT: Duration = Duration::from_secs(10);
/// How long one may wait for its turn.
const TURN_WAIT: Duration = Duration::from_secs(10);

/// A manager who may sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manager {
    /// What entries name them by.
    pub id: Uuid,
    /// Their name.
    pub name: String,
    /// Which of their passwords they signed in with.
    pub(super) password: PasswordMark,
}

/// Tells a password of an account from every other one that it had or will have, and nothing else of it: the hash of its hash, whose salt is
/// new with every password.
pub(super) type PasswordMark = [u8; 32];

/// Why an account is not made or a password not checked.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The name cannot be one.
    #[error("a manager's name has 1 to {NAME_BYTES_MAX} bytes, no control characters and no space at its ends")]
    Name,
    /// The password is too short or too long.
    #[error("a password has at least {PASSWORD_CHARS_MIN} characters and at most {PASSWORD_BYTES_MAX} bytes")]
    Password,
    /// Somebody has the name.
    #[error("there is a manager called {0}: choose another name, or set the password anew with --reset-password")]
    Taken(String),
    /// Nobody has the name.
    #[error("there is no manager called {0}: check the name")]
    Unknown(String),
    /// Too many passwords are being checked.
    #[error("too many passwords are being checked; try again")]
    Busy,
    /// The database did not answer.
    #[error(transparent)]
    Central(#[from] CentralError),
}

/// Turns at hashing passwords.
#[derive(Debug)]
pub(crate) struct Checks {
    turns: Semaphore,
}

impl Default for Checks {
    fn default() -> Self {
        Self { turns: Semaphore::new(HASHES_AT_ONCE) }
    }
}

/// Adds a manager.
///
/// # Errors
/// A name or password that cannot be one, a name that is taken (capitals make no difference), or no answer from the database.
pub async fn add_manager(central: &Postgres, env: &dyn Env, name: &str, password: &str) -> Result<(), AccountError> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.trim() != name || name.chars().any(char::is_control) {
        return Err(AccountError::Name);
    }
    let hash = checked_and_hashed(env, password).await?;
    let loan = central.get().await?;
    let insert = "INSERT INTO manager_accounts (name, password_hash) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    let added = in_time("add a manager", ANSWER_WAIT, async { Ok(loan.execute(insert, &[&name, &hash]).await?) }).await?;
    central.give_back(loan);
    if added == 0 { Err(AccountError::Taken(name.to_owned())) } else { Ok(()) }
}

/// Gives a manager another password, and answers their name as it is written in the account. Whoever is signed in with the old one is signed
/// out by every server within seconds.
///
/// # Errors
/// A name that nobody has, a password that cannot be one, or no answer from the database.
pub async fn reset_password(central: &Postgres, env: &dyn Env, name: &str, password: &str) -> Result<String, AccountError> {
    if name.len() > NAME_BYTES_MAX || name.contains('\0') {
        return Err(AccountError::Unknown(name.to_owned()));
    }
    let hash = checked_and_hashed(env, password).await?;
    let loan = central.get().await?;
    let update = "UPDATE manager_accounts SET password_hash = $2 WHERE lower(name) = lower($1) RETURNING name";
    let row = in_time("set a password", ANSWER_WAIT, async { Ok(loan.query_opt(update, &[&name, &hash]).await?) }).await?;
    central.give_back(loan);
    row.map(|row| row.get(0)).ok_or_else(|| AccountError::Unknown(name.to_owned()))
}

/// Those of some managers whose password is not any more the one that they signed in with, or whose account is gone.
pub(super) async fn outdated(
    central: &Postgres,
    signed_in: BTreeSet<(Uuid, PasswordMark)>,
) -> Result<BTreeSet<(Uuid, PasswordMark)>, CentralError> {
    let ids: Vec<Uuid> = signed_in.iter().map(|(id, _)| *id).collect();
    let loan = central.get().await?;
    let find = "SELECT id, password_hash FROM manager_accounts WHERE id = ANY($1)";
    let rows = in_time("look at accounts", ANSWER_WAIT, async { Ok(loan.query(find, &[&ids]).await?) }).await?;
    central.give_back(loan);
    let known: BTreeSet<_> = rows.iter().map(|row| (row.get(0), mark(row.get(1)))).collect();
    Ok(signed_in.difference(&known).copied().collect())
}

/// What every manager is called, by id: histories of edits carry ids alone.
///
/// # Errors
/// When the database does not answer.
pub(crate) async fn names(central: &Postgres) -> Result<BTreeMap<[u8; 16], String>, CentralError> {
    let loan = central.get().await?;
    let all = "SELECT id, name FROM manager_accounts";
    let rows = in_time("name the managers", ANSWER_WAIT, async { Ok(loan.query(all, &[]).await?) }).await?;
    central.give_back(loan);
    Ok(rows.iter().map(|row| (row.get::<_, Uuid>(0).into_bytes(), row.get(1))).collect())
}

fn mark(hash: &str) -> PasswordMark {
    Sha256::digest(hash.as_bytes()).into()
}

/// Checks a password, and answers the manager with the name as it is written in the account. An unknown name takes as long as a wrong
/// password.
///
/// # Errors
/// When the database does not answer.
pub async fn verify(central: &Postgres, name: &str, password: &str) -> Result<Option<Manager>, AccountError> {
    if name.len() > NAME_BYTES_MAX || password.len() > PASSWORD_BYTES_MAX || name.contains('\0') {
        return Ok(None);
    }
    let loan = central.get().await?;
    let find = "SELECT name, password_hash, id FROM manager_accounts WHERE lower(name) = lower($1)";
    let row = in_time("find a manager", ANSWER_WAIT, async { Ok(loan.query_opt(find, &[&name]).await?) }).await?;
    central.give_back(loan);
    let (manager, hash) = match row {
        Some(row) => {
            let hash: String = row.get(1);
            (Some(Manager { id: row.get(2), name: row.get(0), password: mark(&hash) }), hash)
        }
        None => (None, nobodys_hash().await),
    };
    let right = matches(hash, password.to_owned()).await;
    Ok(manager.filter(|_| right))
}

impl Checks {
    /// [`verify`], in turn.
    pub(crate) async fn verify(&self, central: &Postgres, name: &str, password: &str) -> Result<Option<Manager>, AccountError> {
        let turn = tokio::time::timeout(TURN_WAIT, self.turns.acquire()).await;
        let Ok(Ok(_turn)) = turn else { return Err(AccountError::Busy) };
        verify(central, name, password).await
    }
}

/// The hash of a password that nobody has.
async fn nobodys_hash() -> String {
    static HASH: OnceLock<String> = OnceLock::new();
    if let Some(hash) = HASH.get() {
        return hash.clone();
    }
    let hash = hashed([0; 16], String::new()).await;
    HASH.get_or_init(|| hash).clone()
}

/// The hash of a password that can be one.
async fn checked_and_hashed(env: &dyn Env, password: &str) -> Result<String, AccountError> {
    if password.chars().count() < PASSWORD_CHARS_MIN || password.len() > PASSWORD_BYTES_MAX {
        return Err(AccountError::Password);
    }
    Ok(hashed(random(env), password.to_owned()).await)
}

/// Hashing takes tens of milliseconds: it is kept away from the threads that serve.
async fn hashed(salt: [u8; 16], password: String) -> String {
    let work = move || {
        let salt = SaltString::encode_b64(&salt).expect("16 bytes are a salt");
        let hash = Argon2::default().hash_password(password.as_bytes(), &salt);
        hash.expect("the default parameters take any password within bounds").to_string()
    };
    tokio::task::spawn_blocking(work).await.expect("hashing does not panic")
}

async fn matches(hash: String, password: String) -> bool {
    let work =
        move || PasswordHash::new(&hash).is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok());
    tokio::task::spawn_blocking(work).await.expect("hashing does not panic")
}
