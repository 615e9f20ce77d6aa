//! Lists of texts to labels and back.
//!
//! Peers of this language write labels as texts. `region=europe` is the label
//! `region` with the value `europe`; a text without `=` is a label without a
//! value.

use hulynet_protocol::Labels;

/// The labels that texts stand for.
pub fn read<'a>(texts: impl IntoIterator<Item = &'a str>) -> Labels {
    let split = |text: &'a str| text.split_once('=').unwrap_or((text, ""));
    texts.into_iter().map(split).map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// The texts of labels.
#[must_use]
pub fn write(labels: &Labels) -> Vec<String> {
    let text = |(key, value): (&String, &String)| match value.as_str() {
        "" => key.clone(),
        value => format!("{key}={value}"),
    };
    labels.iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_labels_and_texts_again() {
        let labels = read(["l1", "region=europe", "a=b=c"]);
        assert_eq!(labels.get("region").map(String::as_str), Some("europe"));
        assert_eq!(write(&labels), ["a=b=c", "l1", "region=europe"]);
    }
}
