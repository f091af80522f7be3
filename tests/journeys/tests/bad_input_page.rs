//! `docs/bad-input.md` is a promise: every test that it names is there, every sentence is one that a program says, no code is left out.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A row of the page's big tables: what is done wrong, code, sentence, what is kept, tests.
struct Row<'a> {
    line: usize,
    sentence: &'a str,
    tests: Vec<&'a str>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn page() -> String {
    fs::read_to_string(root().join("docs/bad-input.md")).expect("the page")
}

fn rows(page: &str) -> Vec<Row<'_>> {
    let is_head = |cells: &[&str]| cells[0] == "what is done wrong" || cells[0].starts_with("---");
    page.lines()
        .enumerate()
        .filter(|(_, text)| text.starts_with("| "))
        .map(|(line, text)| (line + 1, text.trim_matches('|').split(" | ").map(str::trim).collect::<Vec<_>>()))
        .filter(|(_, cells)| cells.len() == 5 && !is_head(cells))
        .map(|(line, cells)| Row { line, sentence: cells[2], tests: cells[4].split('`').skip(1).step_by(2).collect() })
        .collect()
}

/// Every file with one of these endings below a folder, sources only.
fn files(folder: &Path, endings: &[&str], found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        if path.is_dir() && !matches!(name, "node_modules" | "target" | "dist" | ".git") {
            files(&path, endings, found);
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            found.push(path);
        }
    }
}

fn texts(folders: &[&str], endings: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for folder in folders {
        files(&root().join(folder), endings, &mut found);
    }
    found.iter().map(|path| fs::read_to_string(path).expect("text")).collect()
}

/// The string literals of a source, with what Rust makes of escapes and of lines that go on.
fn literals(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = source.replace("'\"'", "' '");
    while let Some(start) = rest.find('"') {
        let mut literal = String::new();
        let mut chars = rest[start + 1..].char_indices();
        let mut end = rest.len();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    end = start + 1 + at + 1;
                    break;
                }
                '\\' => match chars.next() {
                    Some((_, '\n')) => {
                        let skipped = chars.as_str().len() - chars.as_str().trim_start().len();
                        for _ in 0..skipped {
                            chars.next();
                        }
                    }
                    Some((_, escaped)) => literal.push(escaped),
                    None => break,
                },
                c => literal.push(c),
            }
        }
        found.push(literal);
        rest = rest[end..].to_owned();
    }
    found
}

/// Whether a text is what a format string gives; `{…}` in it stands for anything.
fn is_formatted(pattern: &str, text: &str) -> bool {
    let mut pieces = Vec::new();
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('{') {
        pieces.push(before);
        rest = after.split_once('}').map_or("", |(_, after)| after);
    }
    pieces.push(rest);
    if pieces.iter().map(|piece| piece.trim().len()).sum::<usize>() < 8 {
        return false;
    }
    let (first, last) = (pieces[0], pieces[pieces.len() - 1]);
    if pieces.len() == 1 {
        return text == first;
    }
    let Some(mut rest) = text.strip_prefix(first).and_then(|rest| rest.strip_suffix(last)) else { return false };
    for piece in &pieces[1..pieces.len() - 1] {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    true
}

/// Whether a sentence is a literal, or literals joined as an error and its causes are. `…` alone stands for anything.
fn is_said(sentence: &str, literals: &BTreeSet<String>) -> bool {
    if sentence == "…" || literals.iter().any(|literal| is_formatted(literal, sentence)) {
        return true;
    }
    sentence.match_indices(": ").any(|(at, _)| {
        let (before, after) = (&sentence[..at], &sentence[at + 2..]);
        (before == "…" || literals.iter().any(|literal| is_formatted(literal, before))) && is_said(after, literals)
    })
}

#[test]
fn every_sentence_of_the_page_is_one_that_a_program_says() {
    let sources = ["domain/src", "hardware/src", "journal/src", "node/src", "sync-proto/src", "sync-server/src"];
    let mut said: BTreeSet<String> = texts(&sources, &[".rs"]).iter().flat_map(|source| literals(source)).collect();
    for table in texts(&["ui/src/lib"], &["messages.ts"]) {
        said.extend(table.split('\'').skip(1).step_by(2).map(str::to_owned));
    }
    for invented in ["the moon is full: wait", "no product has this code: wait", "the run does not verify: the moon is full"] {
        assert!(!is_said(invented, &said), "this test would take anything: {invented}");
    }
    let page = page();
    let rows = rows(&page);
    assert!(rows.len() > 150, "only {} rows were found", rows.len());
    let unsaid = |row: &&Row<'_>| row.sentence != "–" && !is_said(row.sentence, &said);
    let wrong: Vec<_> = rows.iter().filter(unsaid).map(|row| format!("line {}: {}", row.line, row.sentence)).collect();
    assert!(wrong.is_empty(), "no program says this:\n{}", wrong.join("\n"));
}

#[test]
fn every_test_of_the_page_is_there() {
    let rust = texts(&["domain", "hardware", "node", "sync-proto", "sync-server", "tests"], &[".rs"]);
    let browser = texts(&["ui/tests"], &[".ts"]);
    let is_there = |name: &str| {
        rust.iter().any(|source| source.contains(&format!("fn {name}(")))
            || browser.iter().any(|source| source.contains(&format!("test('{name}'")))
    };
    let page = page();
    let mut wrong = Vec::new();
    for row in rows(&page) {
        if row.tests.is_empty() {
            wrong.push(format!("line {}: no test", row.line));
        }
        wrong.extend(row.tests.iter().filter(|name| !is_there(name)).map(|name| format!("line {}: {name}", row.line)));
    }
    assert!(wrong.is_empty(), "there is no such test:\n{}", wrong.join("\n"));
}

#[test]
fn every_code_of_the_till_is_in_the_page() {
    let api = fs::read_to_string(root().join("ui/src/lib/api/node.gen.ts")).expect("the types of the till");
    let (_, codes) = api.split_once("export type ApiErrorCode = ").expect("the codes");
    let codes = codes.split(';').next().expect("the codes");
    let page = page();
    let missing: Vec<_> =
        codes.split('"').skip(1).step_by(2).filter(|code| page.matches(&format!("`{code}`")).count() < 2).collect();
    assert!(codes.matches('"').count() > 40 && missing.is_empty(), "codes with no row: {missing:?}");
}
