//! Files for iii-fast-core: the journal that makes writes durable, snapshots of the map, and what is read back at a start.
//! The only crate that opens files. docs/storage.md is the contract: format, order of steps, what counts as damage.
//!
//! `files` is the seam to the operating system, `segment` and `part` name the two kinds of files, `reader` reads either. `catalog` says
//! what lies in a directory and what of it is needed; `recovery` and `salvage` bring it into a [`State`](iii_fast_core::state::State);
//! `appender`, `writer` and `snapshot` write; `verify` and `backup` look at a directory that somebody else may be using.

mod appender;
pub mod backup;
mod bell;
mod catalog;
mod error;
pub mod files;
mod journal;
mod layout;
mod pace;
pub mod part;
mod progress;
pub mod reader;
mod recovery;
mod salvage;
pub mod segment;
mod snapshot;
pub mod verify;
mod writer;

pub use error::JournalError;
pub use journal::{Journal, Options, Stats, SyncLevel};
pub use recovery::{Recovered, Torn};
pub use salvage::{Dropped, Salvaged};
