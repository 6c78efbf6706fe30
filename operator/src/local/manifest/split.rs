//! A file to its YAML documents. Pure.

/// One document's text and where it begins.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Document<'a> {
    pub(super) text: &'a str,
    /// Number of the line before its first one.
    pub(super) lines_before: usize,
}

/// Cuts at the lines that begin with `---`. Documents that hold nothing but comments are left out.
///
/// Spec: YAML 1.2 section 9.1: a line that begins so is a document's start whatever stands around it.
pub(super) fn documents(text: &str) -> Vec<Document<'_>> {
    let mut documents = Vec::new();
    let (mut begin, mut lines_before) = (0, 0);
    let mut at = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let is_marker = line
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
        if is_marker {
            documents.push(Document { text: &text[begin..at], lines_before });
            // What follows the marker on its line belongs to the document.
            begin = at + 3;
            lines_before = number;
        }
        at += line.len();
    }
    documents.push(Document { text: &text[begin..], lines_before });
    documents.retain(|document| holds_something(document.text));
    documents
}

fn holds_something(text: &str) -> bool {
    text.lines()
        .map(str::trim)
        .any(|line| !(line.is_empty() || line.starts_with('#') || line == "..."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<(usize, &str)> {
        documents(text).into_iter().map(|d| (d.lines_before, d.text.trim())).collect()
    }

    #[test]
    fn documents_know_the_line_that_they_begin_on() {
        let text = "# first\na: 1\n---\nb: 2\n--- # third\nc: 3\n";
        assert_eq!(cut(text), [(0, "# first\na: 1"), (2, "b: 2"), (4, "# third\nc: 3")]);
    }

    #[test]
    fn documents_of_comments_only_are_left_out() {
        assert_eq!(cut("---\n# nothing\n---\na: 1\n---\n\n...\n"), [(2, "a: 1")]);
        assert!(cut("").is_empty());
    }

    #[test]
    fn three_dashes_within_a_line_do_not_cut() {
        assert_eq!(cut("a: '---'\n----\nb: 1\n").len(), 1);
    }
}
