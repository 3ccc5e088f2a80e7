//! Paths in a store's URL: each counts from where it was written, never from wherever a job happens to run.

use std::path::Path;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// The parameters of a server's URL that name files.
const FILES: [&str; 5] = ["password_file", "sentinel_password_file", "ca", "cert", "key"];
/// What would end a parameter, or be taken for something encoded.
const SPECIAL: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b'#').add(b'&').add(b'?').add(b'@');

/// What a relative path counts from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Base<'d> {
    /// This directory.
    Directory(&'d Path),
    /// Nothing: a variable stands nowhere, and would mean another file in every directory.
    Nothing,
}

/// The file of a `sqlite:` URL.
pub(super) fn file_of(url: &str) -> Option<&str> {
    let path = url.strip_prefix("sqlite:")?;
    Some(path.strip_prefix("//").unwrap_or(path))
}

/// The URL with every relative path in it made absolute; the error holds no secret.
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
                    let path = joined(&path, base).map_err(|problem| format!("{name}: {problem}"))?;
                    Ok(format!("{name}={}", utf8_percent_encode(&path, SPECIAL)))
                }
                _ => Ok(parameter.to_owned()),
            }
        }
        _ => Ok(parameter.to_owned()),
    });
    Ok(format!("{before}?{}", parameters.collect::<Result<Vec<_>, String>>()?.join("&")))
}

fn joined(path: &str, base: Base<'_>) -> Result<String, String> {
    if Path::new(path).is_absolute() {
        return Ok(path.to_owned());
    }
    if path.starts_with("~/") {
        return Err("\"~\" stands for nobody's home here; write the whole path".into());
    }
    match base {
        Base::Directory(directory) => {
            let path = directory.join(path);
            let path =
                path.to_str().ok_or("the directory it counts from is not UTF-8; write the whole path")?;
            Ok(path.to_owned())
        }
        Base::Nothing => {
            Err("a relative path would mean another file in every directory; write the whole path".into())
        }
    }
}
