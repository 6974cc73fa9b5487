//! The card from outside: APDUs in, answers out, with power failing wherever it may.

#[cfg(test)]
mod bench;
#[cfg(test)]
mod evidence;
#[cfg(test)]
mod power;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod sam;
#[cfg(test)]
mod vectors;
