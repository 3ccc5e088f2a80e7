//! Names that are read in pages.

use flowlock::Flowlock;

use super::{Place, pages};

#[test]
fn a_page_of_names_begins_and_ends_where_its_prefix_does() {
    let place = Place::new();
    let names = ["a", "a.b", "a/b", "aa", "ab", "b", "ba", "ä", "äb"];
    for flowlock in [place.open(), Flowlock::open("memory:").unwrap()] {
        flowlock.create(&names, flowlock::Creation::default()).unwrap();
        flowlock.remove(&["aa"], flowlock::step::Holders::Respect).unwrap();
        for prefix in ["", "a", "a.", "aa", "ab", "b", "ä", "c", "a%"] {
            let expected = names.iter().filter(|name| **name != "aa" && name.starts_with(prefix));
            let expected: Vec<_> = expected.copied().collect();
            for limit in [1, 2, 100] {
                assert_eq!(pages(&flowlock, prefix, limit), expected, "{prefix}, {limit} a page");
            }
        }
    }
}
