//! A namespace's row: its number in all other tables, and its epoch.
//!
//! The epochs are in a table of their own. Stores that were made before there were epochs lack it until
//! a namespace is next written. Versions that do not know the table leave it alone, so the schema number
//! is the same.

use rusqlite::{Connection, OptionalExtension as _};

use super::failure::translate;
use crate::name::Namespace;
use crate::store::{Epoch, ListedNamespaces, StoreError};

/// A namespace as it is in the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) ns: i64,
    pub(super) epoch: Option<Epoch>,
}

/// Searches for a namespace.
pub(super) fn find(sql: &Connection, namespace: &Namespace) -> Result<Option<Found>, StoreError> {
    let with_epoch = "select ns, epoch from namespace left join epoch using (ns) where name = ?1";
    let mut statement = match sql.prepare_cached(with_epoch) {
        Err(error) if error.to_string().contains("no such table: epoch") => {
            sql.prepare_cached("select ns, null from namespace where name = ?1").map_err(translate)?
        }
        prepared => prepared.map_err(translate)?,
    };
    let found = statement
        .query_row([namespace.as_str()], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<String>>(1)?)))
        .optional()
        .map_err(translate)?;
    let Some((ns, text)) = found else {
        return Ok(None);
    };
    let epoch = text.map(|text| text.parse()).transpose();
    let epoch =
        epoch.map_err(|error| StoreError::damaged(format!("the epoch of namespace {namespace}: {error}")))?;
    Ok(Some(Found { ns, epoch }))
}

/// Returns all namespaces that were not removed, by name.
pub(super) fn all(sql: &Connection) -> Result<Vec<Namespace>, StoreError> {
    let mut statement =
        sql.prepare("select name from namespace where removed is null order by name").map_err(translate)?;
    let names = statement.query_map([], |row| row.get::<_, String>(0)).map_err(translate)?;
    let mut all = ListedNamespaces::default();
    for name in names {
        let name = Namespace::parse(&name.map_err(translate)?);
        all.add(name.map_err(|error| StoreError::damaged(error.to_string()))?)?;
    }
    Ok(all.into_vec())
}

/// Returns the number and the epoch of a namespace that will be written; creates what is missing.
pub(super) fn enter(sql: &Connection, namespace: &Namespace) -> Result<(i64, Epoch), StoreError> {
    let found = find(sql, namespace)?;
    if let Some(Found { ns, epoch: Some(epoch) }) = found {
        return Ok((ns, epoch));
    }
    let ns = found.map_or_else(|| insert(sql, namespace), |found| Ok(found.ns))?;
    let epoch = Epoch::fresh();
    sql.execute_batch(
        "create table if not exists epoch (\n    ns    integer primary key,\n    epoch text not null\n)",
    )
    .and_then(|()| sql.execute("insert into epoch values (?1, ?2)", (ns, epoch.to_string())))
    .map_err(translate)?;
    Ok((ns, epoch))
}

fn insert(sql: &Connection, namespace: &Namespace) -> Result<i64, StoreError> {
    sql.execute(
        "insert into namespace values (null, ?1, '', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ?2, ?2, ?2, null)",
        (namespace.as_str(), i64::MAX),
    )
    .map_err(translate)?;
    Ok(sql.last_insert_rowid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_namespaces_than_may_be_kept_are_not_listed() {
        let sql = Connection::open_in_memory().unwrap();
        let table = "create table namespace (name text, removed text);
            with recursive c(i) as (values(1) union all select i + 1 from c where i < 40000)
            insert into namespace select printf('%0500d', i), null from c";
        sql.execute_batch(table).unwrap();
        let said = all(&sql).unwrap_err().to_string();
        assert!(said.starts_with("the store has at least "), "{said}");
        sql.execute("delete from namespace where rowid > 10000", []).unwrap();
        assert_eq!(all(&sql).unwrap().len(), 10_000);
    }
}
