//! Paths in a store's URL: each is relative to where it was written, never to the directory in which a
//! job runs.

use std::path::{Component, Path, PathBuf};

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::Setting;
use crate::named_file::PROJECT;

/// The parameters of a server's URL that name files.
const FILES: [&str; 5] = ["password_file", "sentinel_password_file", "ca", "cert", "key"];
/// Characters that would end a parameter, or look encoded.
const SPECIAL: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b'#').add(b'&').add(b'?').add(b'@');

/// What a relative path is relative to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Base<'d> {
    /// This directory.
    Directory(&'d Path),
    /// This directory of a project, which the path must not leave. Such a path is marked, so that it is
    /// always reached through no link.
    Project(&'d Path),
    /// Nothing: a variable has no directory, and would mean a different file in every directory.
    Nothing,
}

/// Returns the file of a `sqlite:` URL.
pub(super) fn file_of(url: &str) -> Option<&str> {
    let path = url.strip_prefix("sqlite:")?;
    Some(path.strip_prefix("//").unwrap_or(path))
}

/// Returns the URL with every relative path in it made absolute; the error contains no secret.
pub(super) fn absolute(url: &str, base: Base<'_>) -> Result<String, String> {
    if let Some(path) = file_of(url) {
        return if path.is_empty() {
            Ok(url.to_owned())
        } else {
            Ok(format!("sqlite:{}", joined(path, base)?))
        };
    }
    let Some((before, query)) = url.split_once('?').filter(|_| url.contains("://")) else {
        return Ok(url.to_owned());
    };
    let parameters = query.split('&').map(|parameter| match parameter.split_once('=') {
        Some((name, value)) if FILES.contains(&name) && !value.is_empty() => {
            let path = percent_decode_str(value).decode_utf8();
            match path {
                Ok(path) if !Path::new(path.as_ref()).is_absolute() => {
                    let path = file(&path, base).map_err(|problem| format!("{name}: {problem}"))?;
                    Ok(format!("{name}={}", utf8_percent_encode(&path, SPECIAL)))
                }
                _ => Ok(parameter.to_owned()),
            }
        }
        _ => Ok(parameter.to_owned()),
    });
    Ok(format!("{before}?{}", parameters.collect::<Result<Vec<_>, String>>()?.join("&")))
}

/// Makes the path of a file absolute; a project's file must be below the project.
fn file(path: &str, base: Base<'_>) -> Result<String, String> {
    if matches!(base, Base::Project(_))
        && Path::new(path).components().any(|part| part == Component::ParentDir)
    {
        return Err(
            "a relative path in a project's file must stay below the project; write the absolute path of the file"
                .into(),
        );
    }
    joined(path, base)
}

/// Returns the URL of a file below a project's directory, with the mark of a project.
pub(super) fn of_project(url: &str, directory: &Path) -> String {
    let below = file_of(url).and_then(|file| Path::new(file).strip_prefix(directory).ok()?.to_str());
    let marked = below.and_then(|below| joined(below, Base::Project(directory)).ok());
    marked.map_or_else(|| url.to_owned(), |file| format!("sqlite:{file}"))
}

/// Returns the URL without that mark.
pub(super) fn unmarked(url: &str) -> String {
    url.replace(PROJECT, "/")
}

fn joined(path: &str, base: Base<'_>) -> Result<String, String> {
    if Path::new(path).is_absolute() {
        return Ok(path.to_owned());
    }
    if path.starts_with("~/") {
        return Err(
            "\"~\" cannot be expanded because the home directory is not known here; write the absolute path"
                .into(),
        );
    }
    match base {
        Base::Directory(directory) | Base::Project(directory) => {
            let mark = if matches!(base, Base::Project(_)) { &PROJECT[1..] } else { "" };
            let path = directory.join(format!("{mark}{path}"));
            if !path.is_absolute() {
                return Err("the working directory cannot be told; write the absolute path".into());
            }
            let path = path
                .to_str()
                .ok_or("the directory it is relative to is not UTF-8; write the absolute path")?;
            Ok(path.to_owned())
        }
        Base::Nothing => {
            Err("a relative path would mean a different file in every directory; write the absolute path"
                .into())
        }
    }
}

impl Setting {
    /// Returns the files that a server's URL names, each with the parameter that names it.
    pub fn files(&self) -> Vec<(&'static str, PathBuf)> {
        let query = self.value.split_once('?').filter(|_| self.value.contains("://")).map(|(_, query)| query);
        let parameters =
            query.unwrap_or_default().split('&').filter_map(|parameter| parameter.split_once('='));
        let named = parameters.filter_map(|(name, value)| {
            let name = FILES.into_iter().find(|known| *known == name)?;
            let path = percent_decode_str(value).decode_utf8().ok()?;
            // Without the mark of a project.
            Some((name, Path::new(path.as_ref()).components().collect()))
        });
        named.collect()
    }

    /// Returns the same, with the file of an embedded store and the socket of a server's URL.
    pub(super) fn paths(&self) -> Vec<(&'static str, PathBuf)> {
        let store = file_of(&self.value).map(|file| ("its file", file.into()));
        let socket = socket_of(&self.value).map(|socket| ("its socket", socket));
        store.into_iter().chain(socket).chain(self.files()).collect()
    }
}

/// The socket in a URL like `redis+unix://USER@/PATH`; of a password with `/` in it more than the socket, which is
/// refused elsewhere.
fn socket_of(url: &str) -> Option<PathBuf> {
    let (_, rest) = url.split_once("+unix://")?;
    let before = rest.split(['?', '#']).next()?;
    let path = percent_decode_str(&before[before.find('/')?..]).decode_utf8().ok()?;
    Some(PathBuf::from(path.as_ref()))
}
