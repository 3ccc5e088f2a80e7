//! Everything that can be typed wrong, with the exact answer.

mod arguments;
mod files;
mod names;

use super::{cli, was_asked};
