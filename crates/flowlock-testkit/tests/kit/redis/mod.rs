//! Throw-away servers: what is asked of them happens, and nothing of them stays.

mod proxy;
mod server;
mod several;
