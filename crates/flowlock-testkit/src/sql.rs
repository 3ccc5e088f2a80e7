//! Reads or changes an SQLite file from outside.

use std::path::Path;

/// Executes `statements` on the file, which no process may have open.
#[track_caller]
pub fn sql(file: impl AsRef<Path>, statements: &str) {
    let file = rusqlite::Connection::open(file).expect("the file opens");
    file.execute_batch(statements).expect("the statements are good");
}

/// Returns all rows of the file, which no process may have open: a line for each, with the names of its
/// columns. Random values are masked.
pub(crate) fn rows(file: impl AsRef<Path>) -> Vec<String> {
    let file = rusqlite::Connection::open(file).expect("the file opens");
    let said: i64 = file.pragma_query_value(None, "user_version", |row| row.get(0)).expect("a schema");
    // The other bits count transactions.
    let schema = said >> 28;
    let mut lines = vec![format!("schema {schema}")];
    let tables = "select name from sqlite_schema where type = 'table' order by name";
    let mut tables = file.prepare(tables).expect("there are tables");
    let tables = tables.query_map([], |row| row.get::<_, String>(0)).expect("they are listed");
    for table in tables.map(|table| table.expect("it has a name")) {
        let mut all = file.prepare(&format!("select * from {table}")).expect("it can be read");
        let columns: Vec<_> = all.column_names().map(str::to_owned).collect();
        let shown = |row: &rusqlite::Row<'_>| {
            let cells = columns.iter().enumerate().map(|(at, column)| match column.as_str() {
                "epoch" => Ok("epoch=(by chance)".to_owned()),
                _ => Ok(format!("{column}={}", cell(row.get_ref(at)?))),
            });
            Ok(cells.collect::<rusqlite::Result<Vec<_>>>()?.join(" "))
        };
        let rows = all.query_map([], shown).expect("rows are read");
        let mut rows: Vec<_> = rows.map(|row| format!("  {}", row.expect("a row"))).collect();
        rows.sort();
        lines.extend([table].into_iter().chain(rows));
    }
    lines
}

fn cell(value: rusqlite::types::ValueRef<'_>) -> String {
    use rusqlite::types::ValueRef;
    match value {
        ValueRef::Null => "-".to_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).escape_debug().to_string(),
        ValueRef::Blob(bytes) => format!("{bytes:02x?}"),
    }
}
