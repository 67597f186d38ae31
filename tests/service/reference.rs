//! What docs/REFERENCE.md says is shown by tests, is.

use std::fs;
use std::path::Path;

/// Each test that the page names: its file, and its function.
fn named(page: &str) -> Vec<(&str, &str)> {
    let mut named = Vec::new();
    for line in page.lines().filter(|line| line.starts_with('|')) {
        let code: Vec<&str> = line.split('`').skip(1).step_by(2).collect();
        named.extend(code.windows(2).filter(|pair| pair[0].ends_with(".rs")).map(|pair| (pair[0], pair[1])));
    }
    named
}

#[test]
fn the_tests_that_the_page_names_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/REFERENCE.md")).unwrap();
    let named = named(&page);
    assert!(named.len() > 20, "the page names {} tests", named.len());
    for (file, function) in named {
        let source = fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(source.contains(&format!("fn {function}()")), "{file} has no test {function}");
    }
}

/// All sentences of the page that promise something have a test.
#[test]
fn every_row_has_a_test() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/REFERENCE.md")).unwrap();
    let rows = page
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| the reference") && !line.starts_with("| what |"));
    for row in rows {
        assert!(!named(row).is_empty(), "{row}");
    }
}
