//! Places without other runs: a step asks once for all the names it uses, not once for each of the
//! tables.

use std::collections::BTreeSet;

use super::Rows;
use super::cells::json;
use crate::engine::tables::Result;
use crate::run::Resource;

/// Selects, of the places in the list ?2, those where a run is queued, is parked, has lapsed, or must
/// not overwrite a record.
const WHERE_SOMEBODY_IS: &str = "select value from json_each(?2) where \
    exists (select 1 from line where ns = ?1 and place = value) \
    or exists (select 1 from parked where ns = ?1 and place = value) \
    or exists (select 1 from hold where ns = ?1 and place = value and lapsed = 1) \
    or (value >= 'r' and value < 's' and exists (select 1 from guard where ns = ?1 and name = substr(value, 2)))";

/// The places known to be quiet: no run is queued there, is parked there, has lapsed there, or waits
/// without being allowed to overwrite the record. Any other place was not asked for, or is not quiet.
#[derive(Debug, Default)]
pub(super) struct Quiet(BTreeSet<String>);

impl Quiet {
    pub(super) fn has(&self, place: &str) -> bool {
        self.0.contains(place)
    }

    /// Notes that a run comes to the place.
    pub(super) fn ends(&mut self, place: &str) {
        self.0.remove(place);
    }
}

impl Rows<'_> {
    pub(super) fn find_quiet(&mut self, places: &[Resource]) -> Result<()> {
        let keys: BTreeSet<String> = places.iter().map(Resource::key).collect();
        let asked = json(&keys)?;
        let busy: Vec<String> = self.many(WHERE_SOMEBODY_IS, (self.ns, asked), |row| row.get(0))?;
        self.quiet.0.extend(keys);
        for key in &busy {
            self.quiet.ends(key);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::claim::{Mode, Space};
    use crate::engine::tables::{PlaceRows as _, RecordRows as _, Stake, Which};
    use crate::id::Ticket;
    use crate::name::Name;
    use crate::store::sqlite::schema::SCHEMA_TEXT;

    /// How a run comes to a place, and how to ask whether a run is there.
    type Coming = (&'static str, fn(&mut Rows<'_>, &Resource), fn(&mut Rows<'_>, &Resource) -> bool);

    const STAKE: Stake = Stake { ticket: Ticket(7), mode: Mode::Exclusive };

    const COMINGS: [Coming; 5] = [
        (
            "in line",
            |rows, place| rows.enqueue(place, STAKE).unwrap(),
            |rows, place| {
                let ahead = rows.ahead(Space::Data, &place.name, Ticket(9), 0).unwrap();
                ahead != crate::rule::Crowd::NOBODY
            },
        ),
        (
            "parked",
            |rows, place| rows.park(place, STAKE.ticket).unwrap(),
            |rows, place| rows.first_parked(place).unwrap().is_some(),
        ),
        (
            "lapsed",
            |rows, place| rows.hold(place, STAKE, Which::Lapsed).unwrap(),
            |rows, place| !rows.holders(place, Which::Lapsed, 1).unwrap().is_empty(),
        ),
        (
            "lapsed, as one",
            |rows, place| rows.hold(place, STAKE, Which::Lapsed).unwrap(),
            |rows, place| {
                let held = rows.held(Space::Data, &place.name, Which::Lapsed).unwrap();
                held != crate::rule::Crowd::NOBODY
            },
        ),
        (
            "not allowed to overwrite",
            |rows, place| rows.guard(&place.name, STAKE.ticket).unwrap(),
            |rows, place| rows.next_guard(&place.name, Ticket(0)).unwrap().is_some(),
        ),
    ];

    fn places() -> [Resource; 2] {
        let name = Name::parse("sales.csv").unwrap();
        [Resource::of(Space::Data, &name), Resource::record(&name)]
    }

    #[test]
    fn who_is_at_a_place_is_seen_whether_he_came_before_or_after_it_was_asked() {
        for (how, come, is_there) in COMINGS {
            for came_first in [true, false] {
                let sql = Connection::open_in_memory().unwrap();
                sql.execute_batch(SCHEMA_TEXT).unwrap();
                let mut rows = Rows::new(&sql, 1);
                let place = &places()[usize::from(how == "not allowed to overwrite")];
                if came_first {
                    come(&mut rows, place);
                }
                rows.look_ahead(&places()).unwrap();
                assert_eq!(rows.quiet.has(&place.key()), !came_first, "{how}");
                if !came_first {
                    assert!(!is_there(&mut rows, place), "{how}");
                    come(&mut rows, place);
                }
                assert!(is_there(&mut rows, place), "{how}, came first: {came_first}");
            }
        }
    }
}
