//! The processes of waiting runs as rows.

use super::Rows;
use super::cells::{most, number, ticket};
use crate::engine::tables::{ClientRows, Result};
use crate::id::{ClientId, Ticket};

impl ClientRows for Rows<'_> {
    fn heard(&mut self, client: ClientId) -> Result<Option<i64>> {
        self.number(
            "select heard_ms from client where ns = ?1 and client = ?2",
            (self.ns, client.0.to_be_bytes()),
        )
    }

    fn set_heard(&mut self, client: ClientId, at_ms: i64) -> Result<()> {
        let sql = "insert or replace into client (ns, client, heard_ms) values (?1, ?2, ?3)";
        self.execute(sql, (self.ns, client.0.to_be_bytes(), at_ms))
    }

    fn forget_client(&mut self, client: ClientId) -> Result<()> {
        self.execute("delete from client where ns = ?1 and client = ?2", (self.ns, client.0.to_be_bytes()))
    }

    fn silent_clients(&mut self, upto_ms: i64, limit: usize) -> Result<Vec<(i64, ClientId)>> {
        let sql = "select heard_ms, client from client where ns = ?1 and heard_ms <= ?2 order by heard_ms, client limit ?3";
        self.many(sql, (self.ns, upto_ms, most(limit)), |row| {
            Ok((row.get(0)?, ClientId(u128::from_be_bytes(row.get(1)?))))
        })
    }

    fn add_of_client(&mut self, client: ClientId, ticket: Ticket) -> Result<()> {
        let sql = "insert into of_client (ns, client, ticket) values (?1, ?2, ?3)";
        self.execute(sql, (self.ns, client.0.to_be_bytes(), number(ticket)))
    }

    fn remove_of_client(&mut self, client: ClientId, ticket: Ticket) -> Result<()> {
        let sql = "delete from of_client where ns = ?1 and client = ?2 and ticket = ?3";
        self.execute(sql, (self.ns, client.0.to_be_bytes(), number(ticket)))
    }

    fn of_client(&mut self, client: ClientId, from: Ticket, limit: usize) -> Result<Vec<Ticket>> {
        let sql = "select ticket from of_client where ns = ?1 and client = ?2 and ticket >= ?3 order by ticket limit ?4";
        self.many(sql, (self.ns, client.0.to_be_bytes(), number(from), most(limit)), |row| ticket(row, 0))
    }

    fn reserving(&mut self, client: ClientId, limit: usize) -> Result<Vec<Ticket>> {
        let sql = "select ticket from run indexed by run_reserving where ns = ?1 and client = ?2 and present = 1 \
            and place_end_ms is null and state in ('awaiting_input', 'queued') order by ticket limit ?3";
        self.many(sql, (self.ns, client.0.to_be_bytes(), most(limit)), |row| ticket(row, 0))
    }
}
