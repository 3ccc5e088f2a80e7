//! Passwords, which nobody sees.

use std::fmt;
use std::path::{Path, PathBuf};

/// The longest password file.
const LONGEST_FILE: u64 = 64 * 1024;

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::store::redis) struct Secret(String);

impl Secret {
    pub(in crate::store::redis) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the server's eyes.
    pub(in crate::store::redis) fn reveal(&self) -> &str {
        &self.0
    }
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
    /// A file, read again for every new connection, so that a password can be changed while we run.
    File(PathBuf),
}

impl Password {
    /// The password as it is now; the error names the file and holds no secret.
    pub(in crate::store::redis) fn read(&self) -> Result<Secret, String> {
        match self {
            Self::Given(secret) => Ok(secret.clone()),
            Self::File(path) => read_file(path).map(Secret::new),
        }
    }
}

fn read_file(path: &Path) -> Result<String, String> {
    let shown = crate::text::escape(&path.display().to_string());
    let unreadable = |error: std::io::Error| {
        format!("cannot read the password file {shown}: {error}; check its path, owner and mode")
    };
    let bytes = crate::named_file::read(path, LONGEST_FILE).map_err(|error| match error.kind() {
        std::io::ErrorKind::FileTooLarge => format!(
            "the password file {shown} is longer than {LONGEST_FILE} bytes; it holds the password and nothing else"
        ),
        _ => unreadable(error),
    })?;
    let text = String::from_utf8(bytes).map_err(|_| {
        format!("the password file {shown} is not UTF-8; it holds the password and nothing else")
    })?;
    let password = text.trim_end_matches(['\n', '\r']);
    if password.is_empty() {
        return Err(format!("the password file {shown} is empty; write the password into it"));
    }
    Ok(password.to_owned())
}
