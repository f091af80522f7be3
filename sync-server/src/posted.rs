//! A value that changes, and those who wait for its next one.
//!
//! What `tokio::sync::watch` does, save that readers are woken in the order in which they began to wait: `watch` spreads them over queues by
//! chance, and the order in which connections are served reaches the wire, where a simulation needs it to be the same in every run.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Whoever changes the value. Dropping it ends the wait of every reader.
#[derive(Debug)]
pub struct Post<T> {
    shared: Arc<Shared<T>>,
}

/// Whoever reads it. Every reader remembers what it has seen.
#[derive(Debug, Clone)]
pub struct Posted<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
}

/// Nobody changes the value any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("whoever changed it is gone")]
pub struct Closed;

#[derive(Debug)]
struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Notify,
}

#[derive(Debug)]
struct State<T> {
    value: T,
    version: u64,
    closed: bool,
}

impl<T> Shared<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone> Post<T> {
    /// A value that nobody reads yet.
    pub fn new(value: T) -> Self {
        let state = Mutex::new(State { value, version: 0, closed: false });
        Self { shared: Arc::new(Shared { state, changed: Notify::new() }) }
    }

    /// A reader that has seen what is there now.
    pub fn reader(&self) -> Posted<T> {
        Posted { shared: self.shared.clone(), seen: self.shared.state().version }
    }

    /// Changes the value and wakes whoever waits, if `change` says that it did.
    pub fn modify(&self, change: impl FnOnce(&mut T) -> bool) {
        let mut state = self.shared.state();
        if change(&mut state.value) {
            state.version += 1;
            drop(state);
            self.shared.changed.notify_waiters();
        }
    }
}

impl<T> Drop for Post<T> {
    fn drop(&mut self) {
        self.shared.state().closed = true;
        self.shared.changed.notify_waiters();
    }
}

impl<T: Clone> Posted<T> {
    /// The value as it is now. Whether this reader has seen it does not change.
    pub fn get(&self) -> T {
        self.shared.state().value.clone()
    }

    /// Waits until the value is one that this reader has not seen, and answers it.
    ///
    /// # Errors
    /// When nobody changes it any more.
    pub async fn changed(&mut self) -> Result<T, Closed> {
        let seen = self.seen;
        self.until(|state| state.version > seen).await
    }

    /// Waits until the value is one that is waited for, and answers it.
    ///
    /// # Errors
    /// When nobody changes it any more.
    pub async fn wait_for(&mut self, is_it: impl Fn(&T) -> bool) -> Result<T, Closed> {
        self.until(|state| is_it(&state.value)).await
    }

    async fn until(&mut self, found: impl Fn(&State<T>) -> bool) -> Result<T, Closed> {
        loop {
            let changed = self.shared.changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            {
                let state = self.shared.state();
                if found(&state) {
                    self.seen = state.version;
                    return Ok(state.value.clone());
                }
                if state.closed {
                    return Err(Closed);
                }
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn readers_wake_in_the_order_in_which_they_began_to_wait() {
        let post = Post::new(0);
        let (order, mut woken) = tokio::sync::mpsc::unbounded_channel();
        for n in 0..20 {
            let (mut reader, order) = (post.reader(), order.clone());
            tokio::spawn(async move {
                while let Ok(value) = reader.changed().await {
                    let _ = order.send((value, n));
                }
            });
        }
        drop(order);
        tokio::task::yield_now().await;
        for value in 1..=3 {
            post.modify(|v| {
                *v = value;
                true
            });
            for n in 0..20 {
                assert_eq!(woken.recv().await, Some((value, n)));
            }
        }
        post.modify(|_| false);
        drop(post);
        assert_eq!(woken.recv().await, None, "who waits for what never comes is told so");
    }

    #[tokio::test]
    async fn a_value_that_is_there_is_not_waited_for() {
        let post = Post::new(5);
        let mut reader = post.reader();
        assert_eq!(reader.wait_for(|v| *v >= 5).await, Ok(5));
        post.modify(|v| {
            *v = 6;
            true
        });
        assert_eq!(reader.changed().await, Ok(6));
        drop(post);
        assert_eq!(reader.changed().await, Err(Closed));
        assert_eq!(reader.get(), 6);
    }
}
