//! Docker's REST API over HTTP/1.1. This is all that is asynchronous: a handler calls a verb of the engine in a thread of
//! its own and turns what it gives into an answer.

mod answer;
mod containers;
mod events;
mod exec;
mod hijack;
mod images;
mod listen;
mod networks;
mod peer;
mod query;
mod request;
mod route;
mod server;
mod stream;
mod system;
mod volumes;
mod websocket;

pub(crate) use server::serve;

/// The newest version of the API that is spoken, and the oldest.
pub(crate) const NEWEST: Version = Version(1, 50);
pub(crate) const OLDEST: Version = Version(1, 24);

/// A version of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub(crate) u32, pub(crate) u32);

impl Version {
    pub(crate) fn numbers(self) -> (u32, u32) {
        (self.0, self.1)
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}.{}", self.0, self.1)
    }
}
