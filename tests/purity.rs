//! `model`, `plan` and `format` stay pure: they compile without the rest of the crate, and name nothing that does I/O,
//! waits, reads a clock or draws randomness.
#![allow(clippy::unwrap_used, reason = "a test may end at whatever it does not expect")]

use std::fs;
use std::path::{Path, PathBuf};

// As modules of this program they find no `crate::port`, `crate::engine` or `crate::adapter`: naming one does not compile.
#[path = "../src/format/mod.rs"]
#[allow(dead_code, unused_imports, unreachable_pub, unnameable_types, reason = "nobody uses them here")]
mod format;
#[path = "../src/model/mod.rs"]
#[allow(dead_code, unused_imports, unreachable_pub, unnameable_types, reason = "nobody uses them here")]
mod model;
#[path = "../src/plan/mod.rs"]
#[allow(dead_code, unused_imports, unreachable_pub, unnameable_types, reason = "nobody uses them here")]
mod plan;

const PURE: [&str; 3] = ["src/model", "src/plan", "src/format"];

/// Words and paths of impure code, and what to do instead.
const FORBIDDEN: [(&str, &str); 16] = [
    ("std::fs", "pure code does no I/O"),
    ("std::io", "pure code does no I/O"),
    ("std::net", "pure code does no I/O"),
    ("std::env", "pure code reads no environment"),
    ("std::process", "pure code starts no processes"),
    ("std::thread", "pure code starts no threads"),
    ("SystemTime", "take `now` as an argument"),
    ("Instant", "take `now` as an argument"),
    ("now_utc", "take `now` as an argument"),
    ("HashMap", "iteration order would change plans; use BTreeMap"),
    ("HashSet", "iteration order would change plans; use BTreeSet"),
    ("getrandom", "take random bytes as an argument"),
    ("tokio", "pure code does not wait"),
    ("async", "pure code does not wait"),
    ("await", "pure code does not wait"),
    ("unsafe", "pure code is safe code"),
];

#[test]
fn pure_modules_name_nothing_impure() {
    let sources: Vec<PathBuf> = PURE.iter().flat_map(|directory| sources(Path::new(directory))).collect();
    assert!(sources.len() > 15, "the scan must find the sources: {sources:?}");
    let mut found = Vec::new();
    for path in sources {
        let impurities = impurities(&fs::read_to_string(&path).unwrap());
        found.extend(impurities.iter().map(|impurity| format!("{}, {impurity}", path.display())));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// A scan that cannot fail proves nothing.
#[test]
fn the_scan_finds_what_is_impure() {
    for (word, _) in FORBIDDEN {
        let source = format!("//! Words.\nfn f() {{\n    let x = {word}::y();\n}}\n");
        assert_eq!(impurities(&source).len(), 1, "{word} must be found");
    }
    assert_eq!(impurities("use std::{fs, io};\n").len(), 2, "inside braces too");
    let innocent = "/// Instant and async.\nfn instantly() {} // HashMap\n#[cfg(test)]\nmod tests { use std::fs; }\n";
    assert_eq!(impurities(innocent).len(), 0, "comments, longer words and tests are free");
}

/// The sources below `directory`, without those of tests.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let of_code = paths.filter(|path| !matches!(path.file_stem().and_then(|stem| stem.to_str()), Some("tests")));
    of_code.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

/// The lines of `source`, but for its comments and the tests at its end, that name something forbidden.
fn impurities(source: &str) -> Vec<String> {
    let lines = source.lines().take_while(|line| line.trim() != "#[cfg(test)]").map(without_comment).enumerate();
    let of_line = |(number, line)| {
        let code = expand_braces(line);
        let found = FORBIDDEN.iter().filter(move |(word, _)| names(&code, word));
        found.map(move |(word, reason)| format!("line {}: {word} ({reason})", number + 1))
    };
    lines.flat_map(of_line).collect()
}

fn without_comment(line: &str) -> &str {
    line.split_once("//").map_or(line, |(code, _)| code)
}

/// Writes `use std::{fs, io}` as `std::fs std::io`, beside the line itself.
fn expand_braces(line: &str) -> String {
    let inner = line.split_once("std::{").map_or("", |(_, inner)| inner);
    inner.split([',', '{', '}']).fold(line.to_owned(), |whole, item| whole + " std::" + item.trim())
}

fn names(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(start, _)| {
        let (before, after) = (&line[..start], &line[start + word.len()..]);
        !before.ends_with(is_part) && !after.starts_with(is_part)
    })
}
