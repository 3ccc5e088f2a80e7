//! The library's promises, tried from outside.

mod between;
mod files;
mod histories;
mod holders;
