//! The keys of a namespace.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::id::ClientId;
use crate::name::Namespace;
use crate::world::boot_now_ms;

/// The last letter of each key, in the order of `KEYS` in the scripts; see `lua/state.lua`.
const LETTERS: &str = "hinedcb";

/// The pattern of the keys that have a namespace's row. Other programs' keys may fit it.
pub(super) const EVERY_ROW: &str = "fl:{*}:h";

/// Returns the namespace whose row has this key; `None` if flowlock did not make the key.
pub(super) fn namespace_of(key: &[u8]) -> Option<Namespace> {
    let tag = std::str::from_utf8(key).ok()?.strip_prefix("fl:{")?.strip_suffix("}:h")?;
    let text = percent_encoding::percent_decode_str(tag).decode_utf8().ok()?;
    // A key that this flowlock would write differently belongs to another program.
    Namespace::parse(&text).ok().filter(|namespace| encode(namespace.as_str()) == tag)
}

/// A namespace's keys: few and fixed, with one hash tag, so that all are on one server of a cluster.
#[derive(Debug)]
pub(super) struct Keys {
    /// The namespace inside the braces of its keys.
    pub(super) tag: String,
    /// All keys, in the order of the scripts.
    pub(super) all: Vec<Vec<u8>>,
    /// How far its server's clock is ahead of this machine's boot clock, in milliseconds. Relaxed: it is
    /// one number, an estimate from the last answer, and publishes nothing else.
    ahead_ms: AtomicI64,
}

impl Keys {
    pub(super) fn of(namespace: &Namespace) -> Self {
        let tag = encode(namespace.as_str());
        let all = LETTERS.chars().map(|letter| format!("fl:{{{tag}}}:{letter}").into_bytes()).collect();
        Self { tag, all, ahead_ms: AtomicI64::new(0) }
    }

    /// Estimates the server's clock now.
    pub(super) fn clock_ms(&self) -> i64 {
        boot_now_ms() + self.ahead_ms.load(Ordering::Relaxed)
    }

    /// Takes in the server's time from the answer to a question sent at `sent_ms`: it is between that
    /// and now.
    pub(super) fn set_clock(&self, sent_ms: i64, server_ms: i64) {
        let here = i64::midpoint(sent_ms, boot_now_ms());
        self.ahead_ms.store(server_ms - here, Ordering::Relaxed);
    }

    /// Returns the channel of wake-ups for a client.
    pub(super) fn channel(&self, client: ClientId) -> String {
        format!("fl:{{{}}}:i:{client}", self.tag)
    }

    /// Returns the channel on which all processes are told that they may have missed something.
    pub(super) fn everybody(&self) -> String {
        format!("fl:{{{}}}:i:all", self.tag)
    }
}

/// Letters, digits, `_`, `.` and `-` stand for themselves, every other byte is `%` and two digits: no
/// two namespaces have the same encoding, and no brace or glob character can alter a key.
fn encode(namespace: &str) -> String {
    namespace.bytes().fold(String::new(), |mut text, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' | b'-' => text.push(char::from(byte)),
            _ => {
                let _ = write!(text, "%{byte:02X}");
            }
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_character_of_a_namespace_can_alter_a_key() {
        let keys = Keys::of(&Namespace::parse("a}b{*?[:é %").unwrap());
        assert_eq!(keys.tag, "a%7Db%7B%2A%3F%5B%3A%C3%A9%20%25");
        assert_eq!(keys.all[0], b"fl:{a%7Db%7B%2A%3F%5B%3A%C3%A9%20%25}:h");
        assert_eq!(keys.all.len(), 7);
    }

    #[test]
    fn a_key_names_its_namespace_and_no_other() {
        for text in ["default", "a}b{*?[:é %", "{a}", "a%7Db"] {
            let namespace = Namespace::parse(text).unwrap();
            assert_eq!(namespace_of(&Keys::of(&namespace).all[0]), Some(namespace));
        }
        for key in [
            &b"fl:{a}:i"[..],
            b"fl:{a b}:h",
            b"fl:{a%7db}:h",
            b"fl:{}:h",
            b"fl:a:h",
            b"fl:{\xff}:h",
            b"fl:{%41}:h",
        ] {
            assert_eq!(namespace_of(key), None, "{key:?}");
        }
    }
}
