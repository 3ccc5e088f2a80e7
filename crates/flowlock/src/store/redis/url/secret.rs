//! Passwords, which are never shown.

use std::collections::VecDeque;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::file;

/// The longest password file.
const LONGEST_FILE: u64 = 64 * 1024;
/// How many passwords of this process are searched for in what servers say: the latest.
const REMEMBERED: usize = 16;
/// A server may cut off a password in its words: this many bytes of one are removed too.
const TELLTALE: usize = 8;
/// A shorter text is not a secret, and words without it would only be hard to read.
const SHORTEST: usize = 4;

/// The passwords that were sent to servers.
static TOLD: Mutex<VecDeque<Secret>> = Mutex::new(VecDeque::new());

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::store::redis) struct Secret(String);

impl Secret {
    pub(in crate::store::redis) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text itself, to send to the server. From now on it is removed from everything that a
    /// server says.
    pub(in crate::store::redis) fn reveal(&self) -> &str {
        let mut told = crate::sync::lock(&TOLD);
        if !told.contains(self) {
            told.truncate(REMEMBERED - 1);
            told.push_front(self.clone());
        }
        &self.0
    }

    /// Removes this secret from the text, also its beginning if the text ends within it.
    fn struck_out_of(&self, text: &str) -> String {
        if self.0.len() < SHORTEST {
            return text.to_owned();
        }
        let first = self.0.get(..TELLTALE).unwrap_or(&self.0);
        let (mut kept, mut rest) = (String::with_capacity(text.len()), text);
        while let Some(at) = rest.find(first) {
            let same = rest[at..].chars().zip(self.0.chars()).take_while(|(ours, its)| ours == its);
            let end = at + same.map(|(c, _)| c.len_utf8()).sum::<usize>();
            kept.push_str(&rest[..at]);
            kept.push_str("***");
            rest = &rest[end..];
        }
        kept + rest
    }
}

/// Removes the passwords that this process sent to any server from a server's words: it may repeat them.
pub(in crate::store::redis) fn strike_out(text: &str) -> String {
    crate::sync::lock(&TOLD).iter().fold(text.to_owned(), |text, secret| secret.struck_out_of(&text))
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Where a password comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store::redis) enum Password {
    /// The URL.
    Given(Secret),
    /// A file, read again for every new connection, so that a password can be changed while a process
    /// runs.
    File {
        /// Its parameter's name in the URL.
        parameter: &'static str,
        /// Its path.
        path: PathBuf,
    },
}

impl Password {
    /// Returns the current password; the error names the file and contains no secret.
    pub(in crate::store::redis) fn read(&self) -> Result<Secret, String> {
        match self {
            Self::Given(secret) => Ok(secret.clone()),
            Self::File { parameter, path } => read_file(parameter, path).map(Secret::new),
        }
    }
}

fn read_file(parameter: &str, path: &Path) -> Result<String, String> {
    let shown = file::shown(path);
    let unreadable = |error: std::io::Error| {
        format!("cannot read the password file {shown}: {error}; check its path, owner and mode")
    };
    let bytes = file::read(path, LONGEST_FILE).map_err(|error| match error.kind() {
        _ if file::is_refusal(&error) => format!("cannot read {parameter} {shown}: {error}"),
        std::io::ErrorKind::FileTooLarge => format!(
            "the password file {shown} is longer than {LONGEST_FILE} bytes; it must contain only the password"
        ),
        _ => unreadable(error),
    })?;
    let text = String::from_utf8(bytes)
        .map_err(|_| format!("the password file {shown} is not UTF-8; it must contain only the password"))?;
    let password = text.trim_end_matches(['\n', '\r']);
    if password.is_empty() {
        return Err(format!("the password file {shown} is empty; write the password into it"));
    }
    Ok(password.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_struck_out_whole_cut_off_and_repeated() {
        let secret = Secret::new("SeKret47é");
        for (said, shown) in [
            ("args beginning with: 'SeKret47é' ", "args beginning with: '***' "),
            ("SeKret47éSeKret47é", "******"),
            ("cut off: SeKret47", "cut off: ***"),
            ("SeKret", "SeKret"),
            ("", ""),
        ] {
            assert_eq!(secret.struck_out_of(said), shown);
        }
        assert_eq!(Secret::new("abcd").struck_out_of("abcd abc a"), "*** abc a");
        assert_eq!(Secret::new("abc").struck_out_of("abc"), "abc");
    }
}
