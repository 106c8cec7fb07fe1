//! Labels, annotations and selectors: lists of pairs, each key once.

use crate::service::Pair;

/// Returns the value of a key, in its exact case.
pub fn get<'a>(pairs: &'a [Pair], key: &str) -> Option<&'a str> {
    pairs
        .iter()
        .find(|(name, _)| name == key)
        .map(|(_, value)| value.as_str())
}

/// A list of keys with the values that count, as settings write it. No values: the key's presence
/// counts.
pub type Wanted = [(String, Vec<String>)];

/// Returns the first pair that is wanted. Keys compare exactly; values without regard to ASCII
/// case, because the match restricts.
pub fn first_of<'a>(pairs: &'a [Pair], wanted: &Wanted) -> Option<&'a Pair> {
    pairs
        .iter()
        .find(|(key, value)| is_wanted(key, value, wanted))
}

/// Returns true if a pair is wanted, compared as in [`first_of`].
pub fn is_wanted(key: &str, value: &str, wanted: &Wanted) -> bool {
    wanted.iter().any(|(wanted_key, values)| {
        wanted_key == key
            && (values.is_empty()
                || values
                    .iter()
                    .any(|wanted| wanted.eq_ignore_ascii_case(value)))
    })
}

/// Returns a namespace's own setting, or else the common one.
pub fn for_namespace<'a, T>(
    per_namespace: &'a [(String, T)],
    namespace: &str,
    common: &'a T,
) -> &'a T {
    per_namespace
        .iter()
        .find(|(name, _)| name == namespace)
        .map_or(common, |(_, own)| own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fold_case_and_keys_do_not() {
        let pairs = [("tier".to_owned(), "DataBase".to_owned())];
        let wanted = |key: &str, values: &[&str]| {
            vec![(
                key.to_owned(),
                values.iter().map(|&v| v.to_owned()).collect(),
            )]
        };
        assert!(first_of(&pairs, &wanted("tier", &["database"])).is_some());
        assert!(first_of(&pairs, &wanted("tier", &[])).is_some());
        assert!(first_of(&pairs, &wanted("Tier", &["database"])).is_none());
        assert!(first_of(&pairs, &wanted("tier", &["data"])).is_none());
    }
}
