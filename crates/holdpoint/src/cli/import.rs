//! `holdpoint import`: moving over from a checkout of the template that Holdpoint replaces.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use clap::Args;
use holdpoint_import::{Finding, Imported, Kind};
use serde_json::{Map, json};

use crate::{
    cli::{Context, table::Table},
    config::FILE_NAME,
    data::describe,
    failure::{Exit, Failure},
    render::clean,
    term,
};

/// Arguments of `import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The checkout: the folder with its .env, Dockerfile, data/config and .claude
    pub path: PathBuf,
    /// Where to write it [default: holdpoint.toml in the checkout]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Print what would be written, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Write over a file that is there
    #[arg(long, conflicts_with = "dry_run")]
    pub force: bool,
}

/// Carries it out.
///
/// # Errors
/// When nothing can be read or written, and when something in the checkout cannot be what was meant.
pub(super) fn run(args: &ImportArgs, context: &Context) -> anyhow::Result<()> {
    let checkout = holdpoint_import::read(&args.path).map_err(|error| {
        Failure::new(format!("failed to read the checkout {}", args.path.display()))
            .exit(Exit::NotFound)
            .why(describe(&error))
            .next("holdpoint import PATH     (the folder with .env and data/config)")
    })?;
    if !checkout.is_one() {
        return Err(nothing_there(&args.path).into());
    }
    let output = args.output.clone().unwrap_or_else(|| args.path.join(FILE_NAME));
    let is_in_the_way = output.symlink_metadata().is_ok() && !args.force;
    if is_in_the_way && !args.dry_run {
        return Err(in_the_way(&output, args).into());
    }
    let imported = holdpoint_import::import(&checkout, &prefix(&args.path, &output)?);
    if !args.dry_run {
        write(&output, &imported.toml, args)?;
    }
    if context.json {
        term::json(&as_json(&imported, &output, args))?;
    } else {
        term::line(&as_text(&imported, &output, args))?;
    }
    match imported.count(Kind::Error) {
        0 => Ok(()),
        errors => Err(has_errors(errors, &output, args).into()),
    }
}

/// From where the file will be to the checkout: nothing if it is the same folder, else its whole path.
fn prefix(checkout: &Path, output: &Path) -> io::Result<String> {
    let checkout = checkout.canonicalize()?;
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // A folder that is not there is told of when the file is written.
    let is_same = folder.canonicalize().is_ok_and(|folder| folder == checkout);
    Ok(if is_same { String::new() } else { checkout.display().to_string() })
}

fn write(output: &Path, text: &str, args: &ImportArgs) -> Result<(), Failure> {
    let failed = |error: &io::Error| {
        Failure::new(format!("failed to write {}", output.display()))
            .why(describe(error))
            .next("holdpoint import PATH --output FILE     (somewhere else)")
    };
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(|error| failed(&error))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.as_file().sync_all())
        .map_err(|error| failed(&error))?;
    let written = if args.force { file.persist(output) } else { file.persist_noclobber(output) };
    written.map(drop).map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => in_the_way(output, args),
        _ => failed(&error.error),
    })
}

fn nothing_there(path: &Path) -> Failure {
    Failure::new(format!("there is nothing to move over in {}", path.display()))
        .exit(Exit::NotFound)
        .why("a checkout of the template has .env, Dockerfile, data/config/*.yaml or .claude, and none of them is there")
        .next("holdpoint config example > holdpoint.toml     (to begin anew)")
}

fn in_the_way(output: &Path, args: &ImportArgs) -> Failure {
    let path = args.path.display();
    Failure::new(format!("{} is there already, and was left as it is", output.display()))
        .why("somebody may have changed it")
        .next(format!("holdpoint import {path} --dry-run     (to see what would be written)"))
        .next(format!("holdpoint import {path} --force     (to write over it)"))
}

fn has_errors(errors: usize, output: &Path, args: &ImportArgs) -> Failure {
    let count = if errors == 1 { "1 thing was".to_owned() } else { format!("{errors} things were") };
    let failure = Failure::new(format!("{count} not taken over, because it cannot be what was meant"))
        .exit(Exit::Config)
        .why("each is listed as an error, with its place");
    if args.dry_run {
        return failure.next("put them right in the checkout, then the same again");
    }
    failure
        .next(format!("edit {}, or put them right in the checkout and:", output.display()))
        .next(format!("holdpoint import {} --force", args.path.display()))
}

fn as_json(imported: &Imported, output: &Path, args: &ImportArgs) -> serde_json::Value {
    let counts: Map<String, serde_json::Value> = Kind::ALL
        .iter()
        .filter_map(|kind| {
            Some((serde_json::to_value(kind).ok()?.as_str()?.to_owned(), json!(imported.count(*kind))))
        })
        .collect();
    json!({
        "file": output, "written": !args.dry_run, "agents": imported.agents, "counts": counts,
        "findings": imported.findings, "toml": imported.toml,
    })
}

fn as_text(imported: &Imported, output: &Path, args: &ImportArgs) -> String {
    let mut table = Table::new(&["", "where", "what", "next"]);
    for finding in &imported.findings {
        let Finding { kind, places, what, next } = finding;
        let places: Vec<String> = places.iter().map(ToString::to_string).collect();
        table.row([kind.to_string(), places.join("\n"), what.clone(), next.clone()].map(|cell| clean(&cell)));
    }
    let counts: Vec<String> = Kind::ALL
        .iter()
        .map(|kind| (kind, imported.count(*kind)))
        .filter(|(_, count)| *count > 0)
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    let mut text = format!("{table}\n\n{}", counts.join(", "));
    if args.dry_run {
        text.push_str(&format!("\n\n{} would be:\n\n{}", output.display(), imported.toml.trim_end()));
    } else {
        text.push_str(&format!("\n{} is written\n→ holdpoint --config {0} config check", output.display()));
    }
    text
}
