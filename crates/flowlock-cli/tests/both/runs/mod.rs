//! `flowlock run`: what the command sees, what is written, and what the exit code says.

mod command;
mod nested;
mod refused;
mod result_file;

use super::{cli, place, shown, unusable, was_asked};
