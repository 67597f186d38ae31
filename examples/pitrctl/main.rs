//! `pitrctl`: backups and restores of PostgreSQL servers from the command line, all by [`pitr::service::BackupService`].
//!
//! `pitrctl --help` says what it can, and how to begin.
#![allow(clippy::print_stderr, reason = "a command speaks")]

mod cli;
mod commands;
mod exit;
mod output;
mod point;
#[path = "../shared/mod.rs"]
mod shared;
mod sources;
mod times;
mod world;

use std::process::ExitCode;

use clap::Parser;

use self::cli::Cli;

#[tokio::main]
async fn main() -> ExitCode {
    let Cli { global, command } = Cli::parse();
    match commands::run(&global, command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(global.json),
    }
}
