//! Lines for whoever watches the run: at most 10,000 of 8 KiB each, and 4 MiB in all.

use crate::bindings::deputy::step::log as wit;

pub use crate::{__log_debug as debug, __log_error as error, __log_info as info, __log_warn as warn};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

/// One line. The macros of this module format it.
pub fn write(level: Level, message: &str) {
    let level = match level {
        Level::Debug => wit::Level::Debug,
        Level::Info => wit::Level::Info,
        Level::Warn => wit::Level::Warn,
        Level::Error => wit::Level::Error,
    };
    wit::write(level, message);
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log_debug {
    ($($arguments:tt)*) => { $crate::log::write($crate::log::Level::Debug, &::std::format!($($arguments)*)) };
}
#[doc(hidden)]
#[macro_export]
macro_rules! __log_info {
    ($($arguments:tt)*) => { $crate::log::write($crate::log::Level::Info, &::std::format!($($arguments)*)) };
}
#[doc(hidden)]
#[macro_export]
macro_rules! __log_warn {
    ($($arguments:tt)*) => { $crate::log::write($crate::log::Level::Warn, &::std::format!($($arguments)*)) };
}
#[doc(hidden)]
#[macro_export]
macro_rules! __log_error {
    ($($arguments:tt)*) => { $crate::log::write($crate::log::Level::Error, &::std::format!($($arguments)*)) };
}
