//! "Did you mean": finds an existing name that is spelt almost like a missing one.

use flowlock::Flowlock;
use flowlock::store::{Content, NameSeen, View};

use crate::terminal::shown;

/// How many names are compared.
const MOST_COMPARED: usize = 1_000;

/// Returns `did you mean X?`; nothing if the store has an error.
pub(crate) fn near(flowlock: &Flowlock, wrong: &str) -> Option<String> {
    let view = View::Records { prefix: String::new(), after: None, limit: MOST_COMPARED };
    let Content::Records(records, _) = flowlock.view(&view).ok()?.content else { return None };
    let names = records.iter().map(|record| record.name.as_str());
    nearest(wrong, names).map(|name| format!("did you mean {name}?"))
}

/// Returns `; did you mean X?` for a name that does not exist.
pub(crate) fn of_name(flowlock: &Flowlock, seen: &NameSeen) -> String {
    let near = if seen.record.is_none() { near(flowlock, seen.name.as_str()) } else { None };
    near.map_or_else(String::new, |near| format!("; {}", shown(&near)))
}

/// Returns the name with the fewest changes: at most one in four characters, or two.
fn nearest<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let most = (wrong.chars().count() / 4).max(2);
    names
        // The name of another day is not a misspelling.
        .filter(|name| without_digits(name) != without_digits(wrong))
        .map(|name| (strsim::osa_distance(wrong, name), name))
        .filter(|(changes, name)| *changes <= most && *changes < name.chars().count())
        .min_by_key(|(changes, _)| *changes)
        .map(|(_, name)| name)
}

fn without_digits(name: &str) -> String {
    name.replace(|c: char| c.is_ascii_digit(), "0")
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_misspelt_name_finds_the_one_that_exists() {
        let names = ["upstream_revenue", "sales.2026-11-23", "x"];
        assert_eq!(nearest("upsteam_revenue", names.into_iter()), Some("upstream_revenue"));
        assert_eq!(nearest("sale.2026-11-23", names.into_iter()), Some("sales.2026-11-23"));
        assert_eq!(nearest("sales.2026-11-24", names.into_iter()), None);
        assert_eq!(nearest("orders", names.into_iter()), None);
        assert_eq!(nearest("y", names.into_iter()), None);
    }
}
