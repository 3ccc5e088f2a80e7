//! The runs and places that later steps must look at, as rows.

use super::Rows;
use super::cells::{most, number, source_from_text, source_text, ticket, unreadable};
use crate::engine::tables::{BacklogRows, Hint, Result};
use crate::run::Resource;

impl BacklogRows for Rows<'_> {
    fn hints(&mut self, after: Option<&Hint>, limit: usize) -> Result<Vec<Hint>> {
        let (ticket_after, source_after) = match after {
            Some((ticket, source)) => (number(*ticket), source_text(source)),
            None => (-1, String::new()),
        };
        let sql = "select ticket, source from backlog where ns = ?1 and (ticket, source) > (?2, ?3) \
            order by ticket, source limit ?4";
        self.many(sql, (self.ns, ticket_after, source_after, most(limit)), |row| {
            let text: String = row.get(1)?;
            Ok((ticket(row, 0)?, source_from_text(&text).ok_or_else(|| unreadable(1, &text))?))
        })
    }

    fn add_hint(&mut self, (ticket, source): &Hint) -> Result<()> {
        let sql = "insert or ignore into backlog (ns, ticket, source) values (?1, ?2, ?3)";
        self.execute(sql, (self.ns, number(*ticket), source_text(source)))
    }

    fn remove_hint(&mut self, (ticket, source): &Hint) -> Result<()> {
        let sql = "delete from backlog where ns = ?1 and ticket = ?2 and source = ?3";
        self.execute(sql, (self.ns, number(*ticket), source_text(source)))
    }

    fn is_dirty(&mut self, place: &Resource) -> Result<bool> {
        let sql = "select exists (select 1 from dirty where ns = ?1 and place = ?2)";
        Ok(self.number(sql, (self.ns, place.key()))?.unwrap_or_default())
    }

    fn set_dirty(&mut self, place: &Resource, is_dirty: bool) -> Result<()> {
        let sql = if is_dirty {
            "insert or ignore into dirty (ns, place) values (?1, ?2)"
        } else {
            "delete from dirty where ns = ?1 and place = ?2"
        };
        self.execute(sql, (self.ns, place.key()))
    }
}
