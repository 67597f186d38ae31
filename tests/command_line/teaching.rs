//! What the program says of itself, and how it looks.

use std::collections::BTreeSet;

use super::stand::Stand;

/// The commands that `help` lists.
fn commands(stand: &Stand, of: &[&str]) -> Vec<String> {
    let help = stand.ok(&[of, &["--help"]].concat());
    let listed = help.lines().skip_while(|line| !line.starts_with("Commands:")).skip(1);
    let names = listed.take_while(|line| line.starts_with("  ")).filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn every_command_and_every_option_is_explained() {
    let stand = Stand::empty();
    let mut explained = 0;
    for command in commands(&stand, &[]) {
        let inner = commands(&stand, &[&command]);
        let all: Vec<Vec<&str>> = match &inner[..] {
            [] => vec![vec![&command]],
            inner => inner.iter().map(|inner| vec![&*command, inner]).collect(),
        };
        for command in all {
            let help = stand.ok(&[&command[..], &["--help"]].concat());
            let lines: Vec<_> = help.lines().collect();
            assert!(lines[0].len() > 10, "{command:?} does what? {help}");
            for (at, line) in lines.iter().enumerate().filter(|(_, line)| line.trim_start().starts_with(['-', '<'])) {
                let said =
                    line.trim().contains("  ") || lines.get(at + 1).is_some_and(|next| next.starts_with("          "));
                assert!(said, "{command:?} does not explain {line}");
            }
            explained += 1;
        }
    }
    assert!(explained >= 25, "{explained}");
    assert!(stand.ok(&["--help"]).contains("pitrctl restore shop --at"), "it says how to begin");
}

/// The page for operators knows what the program knows.
#[test]
fn operators_are_told_of_each_command_and_status() {
    let stand = Stand::empty();
    let page = include_str!("../../docs/OPERATIONS.md");
    for command in commands(&stand, &[]) {
        assert!(page.contains(&format!("`{command}`")) || page.contains(&format!("`pitrctl {command}")), "{command}");
    }
    let help = stand.ok(&["--help"]);
    let statuses = help.lines().skip_while(|line| !line.starts_with("Exit status:")).skip(1);
    let statuses: BTreeSet<_> =
        statuses.take_while(|line| !line.is_empty()).map(|line| line.trim().split_once("  ").unwrap()).collect();
    assert_eq!(statuses.len(), 12);
    for (status, meaning) in statuses {
        assert!(page.contains(&format!("| {status} | {meaning}")), "{status} {meaning}");
    }
}

#[test]
fn shells_complete_it() {
    let stand = Stand::empty();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = stand.ok(&["completions", shell]);
        assert!(script.contains("restore") && script.contains("replaces-original"), "{shell}");
    }
}

/// In a pipe there is nothing but text; whoever wants colours there, gets them.
#[test]
fn colours_are_for_terminals() {
    let stand = Stand::new();
    let failed = |variables: &[(&str, &str)]| {
        let mut command = stand.command(&["status", "shop"]);
        let output = command.envs(variables.iter().copied()).output().unwrap();
        output.stderr.contains(&0x1b)
    };
    assert!(!failed(&[]));
    assert!(failed(&[("CLICOLOR_FORCE", "1")]));
}
