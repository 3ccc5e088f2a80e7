//! Every row of the file, read as steps read it: for `flowlock doctor`. Anybody who may write the file can have put
//! anything there, and a step that comes to such a row ends.

use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, OptionalExtension as _, Row, params_from_iter};

use super::cells::{
    RECORD_COLUMNS, RUN_COLUMNS, parsed, read_record, read_run, read_stake, source_from_text, ticket,
    unreadable,
};
use super::{META_COLUMNS, read_meta};
use crate::engine::tables::Result;
use crate::name::{Name, Namespace};
use crate::store::Epoch;
use crate::store::sqlite::failure::translate;
use crate::text::excerpt;

/// How many rows one piece reads.
const PIECE: usize = 500;

/// A table, and what a step reads of each row.
#[derive(Debug)]
pub(in crate::store::sqlite) struct Table {
    /// What its rows are.
    pub(in crate::store::sqlite) name: &'static str,
    columns: &'static str,
    /// Its primary key, the namespace first.
    key: &'static [&'static str],
    read: fn(&Row<'_>) -> rusqlite::Result<()>,
}

/// All tables with rows that steps read.
pub(in crate::store::sqlite) const TABLES: [Table; 12] = [
    Table { name: "namespace", columns: META_COLUMNS, key: &["ns"], read: namespace },
    Table { name: "epoch", columns: "epoch", key: &["ns"], read: epoch },
    Table { name: "run", columns: RUN_COLUMNS, key: &["ns", "ticket"], read: |row| read_run(row).map(drop) },
    Table {
        name: "record",
        columns: RECORD_COLUMNS,
        key: &["ns", "name"],
        read: |row| read_record(row).map(drop),
    },
    Table {
        name: "hold",
        columns: "ticket, mode, units, capacity",
        key: &["ns", "place", "lapsed", "mode", "ticket"],
        read: |row| read_stake(row).map(drop),
    },
    Table {
        name: "line",
        columns: "ticket, mode, units, capacity",
        key: &["ns", "place", "mode", "ticket"],
        read: |row| read_stake(row).map(drop),
    },
    Table {
        name: "units",
        columns: "units",
        key: &["ns", "place", "lapsed"],
        read: |row| row.get::<_, i64>(0).map(drop),
    },
    Table { name: "parked", columns: "ticket", key: &["ns", "place", "ticket"], read: only_ticket },
    Table { name: "guard", columns: "ticket", key: &["ns", "name", "ticket"], read: only_ticket },
    Table { name: "backlog", columns: "ticket, source", key: &["ns", "ticket", "source"], read: hint },
    Table { name: "client", columns: "heard_ms, client", key: &["ns", "client"], read: client },
    Table {
        name: "of_client",
        columns: "ticket, client",
        key: &["ns", "client", "ticket"],
        read: |row| client(row).and_then(|()| ticket(row, 0).map(drop)),
    },
];

/// A row that cannot be read.
#[derive(Debug)]
pub(in crate::store::sqlite) struct Unreadable {
    /// The namespace, if it has a name.
    pub(in crate::store::sqlite) namespace: String,
    /// What stands in the rest of its key.
    pub(in crate::store::sqlite) key: String,
    /// The record's name, if this is one that can be named.
    pub(in crate::store::sqlite) record: Option<Name>,
    /// Why.
    pub(in crate::store::sqlite) why: String,
}

/// A piece of a table.
#[derive(Debug, Default)]
pub(in crate::store::sqlite) struct Piece {
    /// How many rows it has.
    pub(in crate::store::sqlite) rows: usize,
    /// Those that cannot be read.
    pub(in crate::store::sqlite) unreadable: Vec<Unreadable>,
    /// The key of the last one, if there may be more.
    pub(in crate::store::sqlite) last: Option<Vec<Value>>,
}

impl Table {
    /// Reads the next rows behind a key.
    pub(in crate::store::sqlite) fn piece(&self, sql: &Connection, after: Option<&[Value]>) -> Result<Piece> {
        let key = self.key.join(", ");
        let places: Vec<_> = (1..=self.key.len()).map(|place| format!("?{place}")).collect();
        let behind = after.map_or_else(String::new, |_| format!("where ({key}) > ({})", places.join(", ")));
        let text = format!(
            "select {}, {key} from {} {behind} order by {key} limit {PIECE}",
            self.columns, self.name
        );
        let mut statement = match sql.prepare_cached(&text) {
            // Stores made before there were epochs lack it until a namespace is next written to.
            Err(error) if error.to_string().contains("no such table: epoch") => return Ok(Piece::default()),
            prepared => prepared.map_err(translate)?,
        };
        let first = statement.column_count() - self.key.len();
        let mut found = statement.query(params_from_iter(after.unwrap_or_default())).map_err(translate)?;
        let (mut piece, mut last) = (Piece::default(), None);
        while let Some(row) = found.next().map_err(translate)? {
            piece.rows += 1;
            let key = (first..first + self.key.len()).map(|column| row.get::<_, Value>(column));
            let key = key.collect::<rusqlite::Result<Vec<_>>>().map_err(translate)?;
            if let Err(error) = (self.read)(row) {
                piece.unreadable.push(self.unreadable(sql, &key, &error));
            }
            last = Some(key);
        }
        piece.last = last.filter(|_| piece.rows == PIECE);
        Ok(piece)
    }

    fn unreadable(&self, sql: &Connection, key: &[Value], error: &rusqlite::Error) -> Unreadable {
        let (namespace, rest) =
            key.split_first().map_or((String::new(), key), |(ns, rest)| (name_of(sql, ns), rest));
        let record = match rest {
            [Value::Text(name)] if self.name == "record" => Name::parse(name).ok(),
            _ => None,
        };
        let key: Vec<_> = rest.iter().map(shown).collect();
        Unreadable { namespace, key: key.join(" "), record, why: excerpt(&error.to_string()) }
    }
}

/// The name of a namespace by its number.
fn name_of(sql: &Connection, ns: &Value) -> String {
    let found = sql.query_row("select name from namespace where ns = ?1", [ns], |row| row.get::<_, Value>(0));
    found.optional().ok().flatten().map_or_else(|| format!("number {}", shown(ns)), |name| shown(&name))
}

fn shown(value: &Value) -> String {
    match ValueRef::from(value) {
        ValueRef::Null => "null".to_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(text) => excerpt(&String::from_utf8_lossy(text)),
        ValueRef::Blob(bytes) => {
            let digits = bytes.iter().take(16).fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
            if bytes.len() > 16 { format!("{digits}…") } else { digits }
        }
    }
}

fn namespace(row: &Row<'_>) -> rusqlite::Result<()> {
    read_meta(row)?;
    parsed(row, 15, Namespace::parse).map(drop)
}

fn epoch(row: &Row<'_>) -> rusqlite::Result<()> {
    parsed(row, 0, str::parse::<Epoch>).map(drop)
}

fn only_ticket(row: &Row<'_>) -> rusqlite::Result<()> {
    ticket(row, 0).map(drop)
}

fn hint(row: &Row<'_>) -> rusqlite::Result<()> {
    ticket(row, 0)?;
    let text: String = row.get(1)?;
    source_from_text(&text).map(drop).ok_or_else(|| unreadable(1, &text))
}

/// A number, and the 16 bytes of a client.
fn client(row: &Row<'_>) -> rusqlite::Result<()> {
    row.get::<_, i64>(0)?;
    row.get::<_, [u8; 16]>(1).map(drop)
}
