//! Did you mean …?

/// The candidate nearest to `word`, when it is near enough to be a slip of the keyboard.
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let word = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len().max(word.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn only_near_words_are_suggested() {
        assert_eq!(nearest("tokn", ["token", "bot"]), Some("token"));
        assert_eq!(nearest("Slug", ["slug"]), Some("slug"));
        assert_eq!(nearest("summary", ["slug", "name"]), None);
        assert_eq!(nearest("", ["a"]), Some("a"));
        assert_eq!(nearest("xyz", []), None);
    }
}
