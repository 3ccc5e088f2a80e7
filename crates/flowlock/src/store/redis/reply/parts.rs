//! The parts of a reply, one after the other.

use redis::Value;

use super::super::rows;
use crate::id::{Ticket, Token};
use crate::name::{Name, RunId};
use crate::run::Outcome;
use crate::store::StoreError;
use crate::store::plausible::LARGEST;

pub(super) type Result<T> = std::result::Result<T, StoreError>;

pub(super) fn strange(what: &str) -> StoreError {
    StoreError::damaged(format!("the server's answer has no {what} where one is expected")).garbled()
}

/// The parts of an array, one after the other.
pub(super) struct Parts(pub(super) std::iter::Peekable<std::vec::IntoIter<Value>>);

impl Parts {
    pub(super) fn of(value: Value) -> Result<Self> {
        match value {
            Value::Array(parts) => Ok(Self(parts.into_iter().peekable())),
            _ => Err(strange("list")),
        }
    }

    pub(super) fn next(&mut self) -> Result<Value> {
        self.0.next().ok_or_else(|| strange("further part"))
    }

    pub(super) fn list(&mut self) -> Result<Self> {
        Self::of(self.next()?)
    }

    /// Reads every part as a list with parts of its own.
    pub(super) fn each<T>(self, mut read: impl FnMut(Self) -> Result<T>) -> Result<Vec<T>> {
        self.0.map(|value| read(Self(vec![value].into_iter().peekable()))).collect()
    }

    pub(super) fn begins_with(&mut self, word: &str) -> bool {
        matches!(self.0.peek(), Some(Value::BulkString(bytes)) if bytes == word.as_bytes())
    }

    /// Returns `None` for nil, or what `read` makes of it.
    pub(super) fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<Option<T>> {
        if let Some(Value::Nil) = self.0.peek() {
            self.0.next();
            return Ok(None);
        }
        read(self).map(Some)
    }

    pub(super) fn number(&mut self) -> Result<i64> {
        match self.next()? {
            // The scripts send no larger numbers, and sums of larger ones would overflow.
            Value::Int(number) if number.unsigned_abs() <= LARGEST => Ok(number),
            _ => Err(strange("number")),
        }
    }

    pub(super) fn bytes(&mut self) -> Result<Vec<u8>> {
        match self.next()? {
            Value::BulkString(bytes) => Ok(bytes),
            Value::Int(number) => Ok(number.to_string().into_bytes()),
            _ => Err(strange("text")),
        }
    }

    pub(super) fn text(&mut self) -> Result<String> {
        String::from_utf8(self.bytes()?).map_err(|_| strange("text"))
    }

    pub(super) fn parsed<T>(&mut self, what: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T> {
        parse(&self.text()?).ok_or_else(|| strange(what))
    }

    pub(super) fn run(&mut self) -> Result<RunId> {
        self.parsed("run id", |text| RunId::parse(text).ok())
    }

    pub(super) fn name(&mut self) -> Result<Name> {
        self.parsed("name", |text| Name::parse(text).ok())
    }

    pub(super) fn ticket(&mut self) -> Result<Ticket> {
        self.parsed("ticket", rows::ticket_from)
    }

    pub(super) fn token(&mut self) -> Result<Token> {
        Ok(Token(self.number()? as u64))
    }

    pub(super) fn outcome(&mut self) -> Result<Outcome> {
        self.parsed("outcome", Outcome::from_word)
    }
}
