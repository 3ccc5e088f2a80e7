//! Links from page to page that lead nowhere.

use std::path::Path;

/// The dead ones of a page, each with its line. Addresses of other sites are not followed.
pub(super) fn dead(root: &Path, page: &Path, text: &str) -> Vec<String> {
    let folder = root.join(page).parent().map_or_else(|| root.to_path_buf(), Path::to_path_buf);
    let is_dead = |target: &str| {
        let path = target.split('#').next().unwrap_or_default();
        !path.is_empty()
            && !path.contains("://")
            && !path.starts_with("mailto:")
            && !folder.join(path).exists()
    };
    text.lines()
        .zip(1..)
        .flat_map(|(line, number)| targets(line).map(move |target| (number, target)))
        .filter(|(_, target)| is_dead(target))
        .map(|(number, target): (usize, &str)| format!("{number}: the link to `{target}` leads nowhere"))
        .collect()
}

/// The `TARGET` of every `[text](TARGET)` of a line.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_links_to_missing_files_are_dead() {
        let text =
            "see [us](Cargo.toml) and [them](https://example.org/x)\n[gone](no/such.md#part) [here](#part)\n";
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert_eq!(
            dead(root, Path::new("README.md"), text),
            ["2: the link to `no/such.md#part` leads nowhere"]
        );
    }
}
