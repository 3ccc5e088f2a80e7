//! The library's promises, tried from outside.

mod histories;
