use crate::value::fold_case;

/// A `$like` pattern: `%` stands for any run of characters without a line
/// break, everything else for itself, and case does not matter.
///
/// The original turns the pattern into a regular expression whose dot stops
/// at line breaks, which is why the wildcard does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Like {
    /// The texts between the wildcards, in lower case; at least one.
    parts: Vec<String>,
}

impl Like {
    pub(crate) fn new(pattern: &str) -> Self {
        Self { parts: fold_case(pattern).split('%').map(str::to_owned).collect() }
    }

    /// Linear in the text for each part: the leftmost place of a part is
    /// always as good as any other, so nothing is tried twice.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let text = fold_case(text);
        let Some((first, others)) = self.parts.split_first() else {
            return false;
        };
        let Some((last, middle)) = others.split_last() else {
            return text == *first;
        };
        let Some(mut rest) = text.strip_prefix(first.as_str()) else {
            return false;
        };
        for part in middle {
            let Some((skipped, after)) = rest.split_once(part.as_str()) else {
                return false;
            };
            if skipped.contains(is_line_break) {
                return false;
            }
            rest = after;
        }
        rest.strip_suffix(last.as_str()).is_some_and(|skipped| !skipped.contains(is_line_break))
    }
}

fn is_line_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pattern_covers_the_whole_text_without_regard_to_case() {
        let cases = [
            ("abc", "ABC", true),
            ("abc", "abcd", false),
            ("a%", "Android", true),
            ("%s", "errors", true),
            ("%error%", "An ERROR here", true),
            ("x", "xx", false),
            ("a%a", "a", false),
            ("a%a", "aa", true),
            ("%", "", true),
            ("", "", true),
            ("", "a", false),
            ("a%b%c", "a--b--c", true),
            ("a%b%c", "a--c--b", false),
            ("%ab%ab", "ab", false),
            ("100\\%", "100\\ yes", true),
            ("a_c", "abc", false),
            ("a.c", "abc", false),
            ("%ä%", "FÄHRE", true),
            ("ΟΔΟΣ%", "οδοσα", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(Like::new(pattern).matches(text), expected, "{pattern:?} on {text:?}");
        }
    }

    #[test]
    fn a_wildcard_never_covers_a_line_break() {
        assert!(!Like::new("%http%").matches("see\nhttp://x"));
        assert!(!Like::new("%http%").matches("http://x\nbye"));
        assert!(!Like::new("%http%x%").matches("http\nx"));
        assert!(Like::new("%\n%").matches("a\nb"));
        assert!(!Like::new("%\n%").matches("a\nb\nc"));
    }
}
