//! Replies in Redis's protocol (RESP 2), read from a connection.
//!
//! The parser of the crate `redis` does not limit the memory of a reply, does not tell whether anything
//! came after it, and takes three to six times as long: docs/design.md, section 8, has the measurements.

use std::io::{self, ErrorKind, Read};
use std::ops::Range;

use redis::Value;

/// How much is read at once, and the longest line.
const ROOM: usize = 16 << 10;
/// How much of a long text is read at once. Also: up to this size, memory for a text or a list is
/// allocated before it has arrived.
const TRUSTED: usize = 64 << 10;
/// Memory above this, which one long reply took, is freed.
const KEPT: usize = 1 << 20;
/// The largest reply to a short question, or part of the greeting, in bytes.
pub(super) const SHORT: usize = 64 << 10;
/// How deep lists may be nested.
const DEEPEST: usize = 32;

/// What was received and not taken yet. If a deadline cut a reply, it is parsed again from the
/// beginning.
#[derive(Debug)]
pub(super) struct Replies {
    buffer: Vec<u8>,
    /// The part of the buffer that was received and not taken.
    here: Range<usize>,
}

impl Replies {
    pub(super) fn new() -> Self {
        Self { buffer: vec![0; ROOM], here: 0..0 }
    }

    /// Returns whether nothing was received after the replies that were taken.
    pub(super) fn is_all_taken(&self) -> bool {
        self.here.is_empty()
    }

    /// Returns the next reply. One that would take more than `most` bytes is an error of kind
    /// `FileTooLarge`, before memory is allocated for it.
    pub(super) fn next(&mut self, from: &mut impl Read, most: usize) -> io::Result<Value> {
        if self.here.is_empty() {
            self.here = 0..0;
            if self.buffer.len() > KEPT {
                self.buffer = vec![0; ROOM];
            }
        } else if self.here.start > ROOM {
            self.buffer.copy_within(self.here.clone(), 0);
            self.here = 0..self.here.len();
        }
        let mut reading = Reading { at: self.here.start, replies: self, from, left: most };
        let value = reading.value(DEEPEST)?;
        self.here.start = reading.at;
        Ok(value)
    }

    /// Reads at least one more byte, into room for `more` of them.
    fn read(&mut self, from: &mut impl Read, more: usize) -> io::Result<()> {
        let room = self.here.end + more;
        if self.buffer.len() < room {
            self.buffer.resize(room, 0);
        }
        match from.read(&mut self.buffer[self.here.end..])? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            count => {
                self.here.end += count;
                Ok(())
            }
        }
    }
}

/// A reply that is being read.
struct Reading<'r, R> {
    replies: &'r mut Replies,
    from: &'r mut R,
    at: usize,
    /// How many bytes it may still take.
    left: usize,
}

impl<R: Read> Reading<'_, R> {
    fn value(&mut self, depth: usize) -> io::Result<Value> {
        let line = self.line()?;
        self.take_up(size_of::<Value>() + line.len())?;
        let (kind, rest) = self.replies.buffer[line.clone()].split_first().ok_or_else(strange)?;
        match kind {
            b'+' if rest == b"OK" => Ok(Value::Okay),
            b'+' => String::from_utf8(rest.to_vec()).map(Value::SimpleString).map_err(|_| strange()),
            b'-' => {
                let with_its_end = &self.replies.buffer[line.start..line.end + 2];
                redis::parse_redis_value(with_its_end).map_err(|_| strange())
            }
            b':' => number(rest).map(Value::Int),
            b'$' => match length(rest)? {
                None => Ok(Value::Nil),
                Some(length) => self.text(length).map(Value::BulkString),
            },
            b'*' => match length(rest)? {
                None => Ok(Value::Nil),
                Some(_) if depth == 0 => Err(strange()),
                Some(length) => self.list(length, depth - 1).map(Value::Array),
            },
            _ => Err(strange()),
        }
    }

    fn take_up(&mut self, bytes: usize) -> io::Result<()> {
        self.left = self.left.checked_sub(bytes).ok_or(ErrorKind::FileTooLarge)?;
        Ok(())
    }

    fn list(&mut self, length: usize, depth: usize) -> io::Result<Vec<Value>> {
        // Its values will take that much; checked at once, not one by one.
        if length > self.left / size_of::<Value>() {
            return Err(ErrorKind::FileTooLarge.into());
        }
        let mut values = Vec::with_capacity(length.min(TRUSTED / size_of::<Value>()));
        for _ in 0..length {
            values.push(self.value(depth)?);
        }
        Ok(values)
    }

    fn text(&mut self, length: usize) -> io::Result<Vec<u8>> {
        self.take_up(length)?;
        let end = self.at + length;
        while self.replies.here.end < end + 2 {
            let left = end + 2 - self.replies.here.end;
            self.replies.read(self.from, left.clamp(ROOM, TRUSTED))?;
        }
        let (text, rest) = self.replies.buffer[self.at..].split_at(length);
        if !rest.starts_with(b"\r\n") {
            return Err(strange());
        }
        self.at = end + 2;
        Ok(text.to_vec())
    }

    /// Returns where the next line is in the buffer, without its end.
    fn line(&mut self) -> io::Result<Range<usize>> {
        let mut searched = self.at;
        loop {
            let unread = self.replies.here.end;
            if let Some(found) = self.replies.buffer[searched..unread].iter().position(|byte| *byte == b'\n')
            {
                let end = searched + found;
                let line = self.at..end.saturating_sub(1).max(self.at);
                self.at = end + 1;
                let is_line = self.replies.buffer[line.end] == b'\r' && line.len() <= ROOM;
                return if is_line { Ok(line) } else { Err(strange()) };
            }
            // In another protocol a line may never end; its first byte is enough to recognise that.
            let is_ours = unread == self.at || is_kind(self.replies.buffer[self.at]);
            if !is_ours || unread - self.at > ROOM {
                return Err(strange());
            }
            searched = unread;
            self.replies.read(self.from, ROOM)?;
        }
    }
}

/// Returns whether a reply may begin with this byte.
fn is_kind(byte: u8) -> bool {
    b"+-:$*".contains(&byte)
}

fn length(digits: &[u8]) -> io::Result<Option<usize>> {
    match number(digits)? {
        -1 => Ok(None),
        length => usize::try_from(length).map(Some).map_err(|_| strange()),
    }
}

fn number(digits: &[u8]) -> io::Result<i64> {
    std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).ok_or_else(strange)
}

fn strange() -> io::Error {
    ErrorKind::InvalidData.into()
}

#[cfg(test)]
pub(super) mod tests;
