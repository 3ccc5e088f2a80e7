//! Names of every kind.

use flowlock::{JobName, Name, Namespace, RunId, escape};
use flowlock_testkit::Bent;

#[test]
fn a_name_that_is_taken_shows_as_itself_and_a_refusal_shows_nothing_hidden() {
    let seeds = ["sales.2026-11-24", "a b/c:d{e}*", "日本.é", "../../etc/passwd", "-rf"];
    let pieces = [
        "\u{0}",
        "\u{1b}[2J",
        "\u{202e}",
        "\u{200b}",
        "\u{feff}",
        "e\u{301}",
        " ",
        "\n",
        "\u{85}",
        "\u{3164}",
        "\u{e0100}",
        "\u{a0}",
        "\u{3000}",
        "\u{2800}",
        "\u{ffff}",
    ];
    bolero::check!().with_generator(Bent::new(seeds, pieces)).for_each(|input: &Vec<u8>| {
        let text = String::from_utf8_lossy(input);
        match Name::parse(&text) {
            Ok(name) => {
                assert_eq!((name.as_str(), escape(&text).as_str()), (&*text, &*text));
                assert!((1..=512).contains(&text.len()) && !text.trim().is_empty());
                assert!(
                    JobName::parse(&text).is_ok()
                        && RunId::parse(&text).is_ok()
                        && Namespace::parse(&text).is_ok()
                );
            }
            Err(problem) => {
                let said = problem.to_string();
                assert_eq!(escape(&said), said);
                assert!(said.chars().count() < 400, "{said}");
            }
        }
    });
}
