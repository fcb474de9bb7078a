//! `holdpoint files`: what a conversation made.

use std::{io::Write as _, path::PathBuf};

use clap::Args;
use futures::StreamExt as _;
use reqwest::Method;

use crate::{
    cli::{Context, table::Table},
    client::ids::{self, short},
    data::describe,
    failure::Failure,
    render::{clean, time::bytes},
    term,
};

/// Arguments of `files`.
#[derive(Debug, Args)]
pub struct FilesArgs {
    /// Which conversation: its id, or an end or beginning of it that means one only
    pub execution: String,
    /// The file to fetch; without it they are listed
    pub path: Option<String>,
    /// Where to put it, rather than on the screen
    #[arg(long, short, value_name = "FILE", requires = "path")]
    pub output: Option<PathBuf>,
}

/// Carries it out.
///
/// # Errors
/// When there is no such conversation or file.
pub(super) async fn run(args: FilesArgs, context: &Context) -> anyhow::Result<()> {
    let api = context.api()?;
    let id = ids::execution(&api, &args.execution).await?;
    let Some(path) = &args.path else {
        let page = api.get(&format!("/v1/executions/{id}/files")).await?;
        if context.json {
            return term::json(&page);
        }
        let list = page["items"].as_array().or(page["files"].as_array()).cloned().unwrap_or_default();
        if list.is_empty() {
            return Ok(term::line("There are no files.")?);
        }
        let mut table = Table::new(&["path", "size"]);
        for file in &list {
            table.row([
                clean(file["path"].as_str().unwrap_or_default()),
                bytes(file["size"].as_u64().unwrap_or_default()),
            ]);
        }
        term::line(&table.to_string())?;
        return Ok(term::line(&format!("→ holdpoint files {} PATH -o FILE", short(&id)))?);
    };
    let encoded: Vec<String> = path.split('/').map(encode).collect();
    let request = api.request(Method::GET, &format!("/v1/executions/{id}/files/{}", encoded.join("/")));
    let mut stream = api.send(request).await?.bytes_stream();
    let mut target: Box<dyn std::io::Write + Send> = match &args.output {
        Some(output) => Box::new(std::fs::File::create(output).map_err(|error| {
            Failure::new(format!("failed to write {}", output.display())).why(describe(&error))
        })?),
        None => Box::new(std::io::stdout()),
    };
    while let Some(chunk) = stream.next().await {
        target.write_all(&chunk.map_err(|error| api.unreachable(&error))?)?;
    }
    target.flush()?;
    if let Some(output) = &args.output {
        eprintln!("wrote {}", output.display());
    }
    Ok(())
}

/// One part of a path, as an address takes it.
fn encode(part: &str) -> String {
    part.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_part_of_a_path_is_encoded() {
        assert_eq!(super::encode("a b#ü.txt"), "a%20b%23%C3%BC.txt");
    }
}
