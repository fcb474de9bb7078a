//! The command line as clap sees it.

use clap::{CommandFactory as _, Parser as _};

use super::{Cli, Command};

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn what_every_command_takes_may_stand_anywhere() {
    let cli = Cli::try_parse_from(["holdpoint", "export", "0190", "--data", "/d", "--json"]).expect("parsed");
    assert!(matches!(cli.command, Command::Export(_)));
    assert_eq!((cli.global.data.as_deref(), cli.global.json), (Some(std::path::Path::new("/d")), true));
    assert!(Cli::try_parse_from(["holdpoint", "dance"]).is_err());
}
