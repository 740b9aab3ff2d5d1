//! A part of a state that most states have in common: cloning it costs nothing, and it is hashed once.

use std::cell::OnceCell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// A shared value with its hash, once that was asked for.
#[derive(Debug, Clone)]
pub struct Shared<T> {
    value: Arc<T>,
    hash: OnceCell<u64>,
}

impl<T> Shared<T> {
    pub fn new(value: T) -> Self {
        Self { value: Arc::new(value), hash: OnceCell::new() }
    }
}
impl<T: Clone> Shared<T> {
    /// The value, to be changed here alone.
    pub fn change(&mut self) -> &mut T {
        self.hash = OnceCell::new();
        Arc::make_mut(&mut self.value)
    }
}
impl<T> Deref for Shared<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}
impl<T: Hash> Hash for Shared<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash.get_or_init(|| fingerprint(&*self.value)).hash(state);
    }
}

/// What tells a value from another one.
pub fn fingerprint(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
