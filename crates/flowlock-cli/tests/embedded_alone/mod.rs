//! What is promised of the embedded store alone. Each test says why it is not in `both/`.

mod clocks;
mod demo;
mod doctor;
mod processes;
mod shared;
mod shown;
