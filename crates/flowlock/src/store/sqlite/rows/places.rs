//! The holders of a name, the runs queued for it, and the runs parked at it, as rows.

use rusqlite::Params;

use super::super::failure::translate;
use super::Rows;
use super::cells::{all_modes, columns, first_by_ticket, modes, most, number, read_stake};
use crate::claim::{Mode, Space};
use crate::engine::tables::{Part, PlaceRows, Result, Stake, Which};
use crate::id::Ticket;
use crate::name::Name;
use crate::rule::Crowd;
use crate::run::Resource;

impl PlaceRows for Rows<'_> {
    fn look_ahead(&mut self, places: &[Resource]) -> Result<()> {
        self.find_quiet(places)
    }

    fn hold(&mut self, place: &Resource, stake: Stake, which: Which) -> Result<()> {
        let (mode, units, capacity) = columns(stake.mode);
        let key = place.key();
        if which == Which::Lapsed {
            self.quiet.ends(&key);
        }
        self.execute(
            "insert into hold (ns, place, lapsed, mode, ticket, units, capacity) values (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            (self.ns, key, which == Which::Lapsed, mode, number(stake.ticket), units, capacity),
        )?;
        self.count_units(place, stake, which, i64::from(units))
    }

    fn unhold(&mut self, place: &Resource, stake: Stake, which: Which) -> Result<()> {
        let (mode, units, _) = columns(stake.mode);
        self.execute(
            "delete from hold where ns = ?1 and place = ?2 and lapsed = ?3 and mode = ?4 and ticket = ?5",
            (self.ns, place.key(), which == Which::Lapsed, mode, number(stake.ticket)),
        )?;
        self.count_units(place, stake, which, -i64::from(units))
    }

    fn holds(&mut self, place: &Resource, stake: Stake, which: Which) -> Result<bool> {
        let sql = "select exists (select 1 from hold where ns = ?1 and place = ?2 and lapsed = ?3 and mode = ?4 and ticket = ?5)";
        let key = (self.ns, place.key(), which == Which::Lapsed, columns(stake.mode).0, number(stake.ticket));
        Ok(self.number(sql, key)?.unwrap_or_default())
    }

    fn held(&mut self, space: Space, name: &Name, which: Which) -> Result<Crowd> {
        let (place, lapsed) = (Resource::of(space, name).key(), which == Which::Lapsed);
        if lapsed && self.quiet.has(&place) {
            return Ok(Crowd::NOBODY);
        }
        if space == Space::Slot {
            let sql = "select (select units from units where ns = ?1 and place = ?2 and lapsed = ?3), \
                (select min(capacity) from hold where ns = ?1 and place = ?2 and lapsed = ?3 and mode = 2)";
            let crowd = self.one(sql, (self.ns, place, lapsed), |row| {
                let units = row.get::<_, Option<i64>>(0)?.unwrap_or_default().max(0) as u64;
                let capacity = row.get::<_, Option<u32>>(1)?.unwrap_or(u32::MAX);
                Ok(Crowd { units, capacity, ..Crowd::NOBODY })
            })?;
            return Ok(crowd.unwrap_or(Crowd::NOBODY));
        }
        let sql = "select exists (select 1 from hold where ns = ?1 and place = ?2 and lapsed = ?3 and mode = 0), \
            exists (select 1 from hold where ns = ?1 and place = ?2 and lapsed = ?3 and mode = 1)";
        self.crowd(sql, (self.ns, place, lapsed))
    }

    fn holders(&mut self, place: &Resource, which: Which, limit: usize) -> Result<Vec<Stake>> {
        let sql = "select ticket, mode, units, capacity from hold where ns = ?1 and place = ?2 and lapsed = ?3 \
            and mode = ?4 order by ticket limit ?5";
        let mut stakes = Vec::new();
        let key = place.key();
        if which == Which::Lapsed && self.quiet.has(&key) {
            return Ok(stakes);
        }
        for mode in all_modes(place) {
            let params = (self.ns, &key, which == Which::Lapsed, mode, most(limit));
            stakes.extend(self.many(sql, params, read_stake)?);
        }
        Ok(first_by_ticket(stakes, limit))
    }

    fn enqueue(&mut self, place: &Resource, stake: Stake) -> Result<()> {
        let (mode, units, capacity) = columns(stake.mode);
        let key = place.key();
        self.quiet.ends(&key);
        self.execute(
            "insert into line (ns, place, mode, ticket, units, capacity) values (?1, ?2, ?3, ?4, ?5, ?6)",
            (self.ns, key, mode, number(stake.ticket), units, capacity),
        )
    }

    fn dequeue(&mut self, place: &Resource, stake: Stake) -> Result<()> {
        self.execute(
            "delete from line where ns = ?1 and place = ?2 and mode = ?3 and ticket = ?4",
            (self.ns, place.key(), columns(stake.mode).0, number(stake.ticket)),
        )
    }

    fn ahead(&mut self, space: Space, name: &Name, before: Ticket, enough: u64) -> Result<Crowd> {
        let place = Resource::of(space, name);
        let key = place.key();
        if self.quiet.has(&key) {
            return Ok(Crowd::NOBODY);
        }
        if space == Space::Slot {
            return self.units_ahead(&place, before, enough);
        }
        let sql = "select exists (select 1 from line where ns = ?1 and place = ?2 and mode = 0 and ticket < ?3), \
            exists (select 1 from line where ns = ?1 and place = ?2 and mode = 1 and ticket < ?3)";
        self.crowd(sql, (self.ns, key, number(before)))
    }

    fn line(&mut self, place: &Resource, part: Part, limit: usize) -> Result<Vec<Stake>> {
        // One range per mode, so that the order of the key can be used; merged here.
        let sql = "select ticket, mode, units, capacity from line where ns = ?1 and place = ?2 and mode = ?3 \
            and ticket >= ?4 and ticket < ?5 order by ticket limit ?6";
        let mut stakes = Vec::new();
        for mode in modes(place, part) {
            let range = (number(part.from), number(part.before));
            let params = (self.ns, place.key(), mode, range.0, range.1, most(limit));
            stakes.extend(self.many(sql, params, read_stake)?);
        }
        Ok(first_by_ticket(stakes, limit))
    }

    fn last_in_line(&mut self, place: &Resource, part: Part) -> Result<Option<Ticket>> {
        let sql = "select max(ticket) from line where ns = ?1 and place = ?2 and mode = ?3 and ticket >= ?4 and ticket < ?5";
        let mut last = None;
        for mode in modes(place, part) {
            let found: Option<i64> =
                self.number(sql, (self.ns, place.key(), mode, number(part.from), number(part.before)))?;
            last = last.max(found);
        }
        Ok(last.map(|ticket| Ticket(ticket as u64)))
    }

    fn park(&mut self, place: &Resource, ticket: Ticket) -> Result<()> {
        let key = place.key();
        self.quiet.ends(&key);
        let sql = "insert into parked (ns, place, ticket) values (?1, ?2, ?3)";
        self.execute(sql, (self.ns, key, number(ticket)))
    }

    fn unpark(&mut self, place: &Resource, ticket: Ticket) -> Result<()> {
        let sql = "delete from parked where ns = ?1 and place = ?2 and ticket = ?3";
        self.execute(sql, (self.ns, place.key(), number(ticket)))
    }

    fn first_parked(&mut self, place: &Resource) -> Result<Option<Ticket>> {
        let key = place.key();
        if self.quiet.has(&key) {
            return Ok(None);
        }
        let sql = "select min(ticket) from parked where ns = ?1 and place = ?2";
        let first: Option<i64> = self.number(sql, (self.ns, key))?;
        Ok(first.map(|ticket| Ticket(ticket as u64)))
    }
}

impl Rows<'_> {
    /// Maintains the sum of the units held at a place, so that no step adds up ten thousand rows.
    fn count_units(&self, place: &Resource, stake: Stake, which: Which, more: i64) -> Result<()> {
        if !matches!(stake.mode, Mode::Units { .. }) {
            return Ok(());
        }
        let (place, lapsed) = (place.key(), which == Which::Lapsed);
        self.execute(
            "insert into units (ns, place, lapsed, units) values (?1, ?2, ?3, ?4) \
             on conflict do update set units = units + excluded.units",
            (self.ns, &place, lapsed, more),
        )?;
        let sql = "delete from units where ns = ?1 and place = ?2 and lapsed = ?3 and units = 0";
        self.execute(sql, (self.ns, &place, lapsed))
    }

    fn crowd(&self, sql: &str, params: impl Params) -> Result<Crowd> {
        let crowd = self.one(sql, params, |row| {
            Ok(Crowd { shared: row.get(0)?, exclusive: row.get(1)?, ..Crowd::NOBODY })
        })?;
        Ok(crowd.unwrap_or(Crowd::NOBODY))
    }

    fn units_ahead(&self, place: &Resource, before: Ticket, enough: u64) -> Result<Crowd> {
        let sql = "select ticket, mode, units, capacity from line where ns = ?1 and place = ?2 and mode = 2 \
            and ticket < ?3 order by ticket";
        let mut statement = self.sql.prepare_cached(sql).map_err(translate)?;
        let mut rows = statement.query((self.ns, place.key(), number(before))).map_err(translate)?;
        let mut crowd = Crowd::NOBODY;
        while let Some(row) = rows.next().map_err(translate)? {
            crowd = crowd.with(read_stake(row).map_err(translate)?.mode);
            if crowd.units > enough {
                break;
            }
        }
        Ok(crowd)
    }
}
