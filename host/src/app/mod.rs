//! Which apps there are, and what each declares.
//!
//! Built-in apps lie in the binary, installed ones in `<data>/apps` as content-addressed files; listing either opens
//! no store and starts no engine. An account pins the hash of what it was connected with, and gets exactly that for
//! ever: updates and removals add and forget names, they never touch a version.
//!
//! The data folder is not trusted. A version's hash covers the component *and* its declaration, so whoever edits a file
//! there can break an account, not redirect it.

mod catalog;
mod difference;
mod error;
mod explain;
mod files;
mod monogram;
mod search;
#[cfg(test)]
mod tests;
pub mod words;

pub use catalog::{AppSummary, Catalog, Declarer, Installed, Pinned, Terms, declared, hash};
pub use difference::Difference;
pub use error::AppError;
pub use explain::{Chapter, explain};
pub use monogram::monogram;
pub use search::{Filter, search};
