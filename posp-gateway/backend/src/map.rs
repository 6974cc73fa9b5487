//! Maps in the path of a payment. A purchase looks some forty keys up, and the standard library's hash, which withstands an attacker who
//! chooses keys, was a third of the engine's time. What is hashed here was sent by enrolled terminals under a MAC, with a seed drawn at
//! start: a hash that such a sender cannot aim without seeing its outcome is enough.

use foldhash::quality::RandomState;

/// A map from keys of records and accounts.
pub(crate) type Map<K, V> = std::collections::HashMap<K, V, RandomState>;
/// A set of them.
pub(crate) type Set<K> = std::collections::HashSet<K, RandomState>;
