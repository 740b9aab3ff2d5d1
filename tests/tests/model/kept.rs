//! Values that many states have in common. Each is kept once, and a state holds its number.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Deref;

/// A value that is kept until the program ends, so that it is copied and compared as a number is.
#[derive(Debug)]
pub struct Kept<T: 'static> {
    pub number: u32,
    value: &'static T,
}

impl<T> Kept<T> {
    pub fn value(self) -> &'static T {
        self.value
    }
}
impl<T> Clone for Kept<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Kept<T> {}
impl<T> PartialEq for Kept<T> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}
impl<T> Eq for Kept<T> {}
impl<T> Hash for Kept<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.number.hash(state);
    }
}
impl<T> Deref for Kept<T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.value
    }
}

/// Every value of one kind, by its fingerprint.
#[derive(Debug)]
pub struct Table<T: 'static>(HashMap<u128, Kept<T>>);

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}
impl<T: Hash> Table<T> {
    pub fn keep(&mut self, value: T) -> Kept<T> {
        let number = self.0.len().try_into().unwrap();
        *self.0.entry(fingerprint(&value)).or_insert_with(|| Kept { number, value: Box::leak(Box::new(value)) })
    }
    pub fn len(&self) -> usize {
        self.0.len()
    }
    pub fn all(&self) -> impl Iterator<Item = Kept<T>> {
        self.0.values().copied()
    }
}

/// What tells a value from every other one: 128 bits, so that two of 100 million are alike with a chance of one in 10^22.
pub fn fingerprint(value: &impl Hash) -> u128 {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        salt.hash(&mut hasher);
        value.hash(&mut hasher);
        u128::from(hasher.finish())
    };
    half(0) << 64 | half(1)
}
