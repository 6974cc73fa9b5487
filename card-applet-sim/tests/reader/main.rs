//! The simulator in a reader: a stand-in for vpcd that writes length and body apart, as Debian's does, and the binary
//! itself with its control socket.

#[cfg(test)]
mod binary;
#[cfg(test)]
mod slots;
#[cfg(test)]
mod vpcd;
