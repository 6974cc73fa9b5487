//! The commands in this process, with a scripted purse and SAM in memory readers: what a person and a script get to see,
//! and what the journal keeps, whatever goes wrong.
//!
//! The purse here follows the command set's states (`purse.md`) and checks no MACs; the real applet meets the terminal in
//! the workspace's `tests`.

#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod disk;
#[cfg(test)]
mod fakes;
#[cfg(test)]
mod gateway;
#[cfg(test)]
mod languages;
#[cfg(test)]
mod online;
#[cfg(test)]
mod payments;
#[cfg(test)]
mod provisioning;
#[cfg(test)]
mod till;
