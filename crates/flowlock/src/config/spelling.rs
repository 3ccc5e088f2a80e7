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
