//! Scopes: the unit of partial replication.

use std::fmt;

/// Longest scope name in bytes.
pub const SCOPE_BYTES_MAX: usize = 64;

/// The name of a scope, such as `directory` or `store/0190…`: 1 to [`SCOPE_BYTES_MAX`] of `a-z 0-9 - /`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(Box<str>);

/// A text that is no scope name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a scope is 1 to {SCOPE_BYTES_MAX} of a-z, 0-9, - and /")]
pub struct ScopeError;

impl Scope {
    /// The scope of a name.
    ///
    /// # Errors
    /// A name that is empty, too long or has another character.
    pub fn new(name: impl Into<String>) -> Result<Self, ScopeError> {
        let name = name.into();
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'/';
        if name.is_empty() || name.len() > SCOPE_BYTES_MAX || !name.bytes().all(allowed) {
            return Err(ScopeError);
        }
        Ok(Self(name.into_boxed_str()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scope({})", self.0)
    }
}
