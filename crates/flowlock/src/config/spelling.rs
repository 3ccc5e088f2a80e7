//! "Did you mean": finds an existing word that is spelt almost like an unknown one.

/// Returns the word with the fewest changes: at most one in four characters, or two.
pub(super) fn nearest<'a>(wrong: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let most = (wrong.chars().count() / 4).max(2);
    words
        .map(|word| (strsim::osa_distance(wrong, word), word))
        .filter(|(changes, word)| *changes <= most && *changes < word.chars().count())
        .min_by_key(|(changes, _)| *changes)
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_change_in_four_letters_is_a_slip_and_two_in_any_word_but_no_other_word_is_meant() {
        for (wrong, word, is_meant) in [
            ("tz", "zt", true),
            ("xy", "tz", false),
            ("stroe", "store", true),
            ("xxxre", "store", false),
            ("durationlong", "xxxationlong", true),
            ("durationlong", "xxxxtionlong", false),
        ] {
            assert_eq!(nearest(wrong, [word].into_iter()).is_some(), is_meant, "{wrong} for {word}");
        }
        assert_eq!(nearest("storr", ["stone", "store"].into_iter()), Some("store"));
    }
}
