//! `holdpoint files`: what a conversation made.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use clap::Args;
use futures::StreamExt as _;
use reqwest::Method;

use crate::{
    cli::{Context, table::Table},
    client::ids::{self, short},
    data::describe,
    failure::Failure,
    render::{clean, time::bytes, visible},
    term,
};

/// The longest file that is shown on a terminal, in bytes: it is looked at whole before any of it is.
const MAX_ON_SCREEN: usize = 1024 * 1024;

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
    let mut next = async || stream.next().await.transpose().map_err(|error| api.unreachable(&error));
    if let Some(output) = &args.output {
        let failed = |error: std::io::Error| {
            Failure::new(format!("failed to write {}", output.display())).why(describe(&error))
        };
        let mut file = std::fs::File::create(output).map_err(failed)?;
        while let Some(chunk) = next().await? {
            file.write_all(&chunk).map_err(failed)?;
        }
        eprintln!("wrote {}", output.display());
    } else if context.term.has_screen {
        let mut content = Vec::new();
        while let Some(chunk) = next().await? {
            content.extend_from_slice(&chunk);
            if content.len() > MAX_ON_SCREEN {
                break;
            }
        }
        term::print(for_screen(&content, path, &id)?)?;
    } else {
        while let Some(chunk) = next().await? {
            term::print_bytes(&chunk)?;
        }
    }
    Ok(())
}

/// The content as text, if a terminal only shows it: an agent wrote it, and must not command the
/// terminal, nor hide anything.
fn for_screen<'a>(content: &'a [u8], path: &str, id: &str) -> Result<&'a str, Failure> {
    let why = if content.len() > MAX_ON_SCREEN {
        format!("it has more than {}", bytes(u64::try_from(MAX_ON_SCREEN).unwrap_or(u64::MAX)))
    } else {
        match std::str::from_utf8(content) {
            Ok(text) if visible(text) == text.replace("\r\n", "\n") => return Ok(text),
            Ok(_) => "it holds control characters, which the terminal would obey".to_owned(),
            Err(_) => "it is no text".to_owned(),
        }
    };
    let name = Path::new(path).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (path, name) = (quoted(path), quoted(&name));
    Err(Failure::new(format!("{path} is not shown on a terminal"))
        .why(why)
        .next(format!("holdpoint files {} {path} -o {name}", short(id)))
        .next(format!("holdpoint files {} {path} | less", short(id))))
}

/// As a shell takes it, and without what a terminal would obey.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", clean(text).replace('\'', "'\\''"))
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
    use super::*;

    #[test]
    fn only_plain_text_is_shown_on_a_terminal() {
        let show = |content: &[u8]| for_screen(content, "out/a b.txt", "0190-12345678").map(str::to_owned);
        assert_eq!(show("grün\r\n\tok\n".as_bytes()), Ok("grün\r\n\tok\n".into()));
        for content in
            [&b"\x1b]0;x\x07"[..], b"\xff\xfe", "a\u{202e}b".as_bytes(), &vec![b'x'; MAX_ON_SCREEN + 1]]
        {
            let failure = show(content).expect_err("not for a terminal").to_string();
            assert!(failure.contains("holdpoint files 12345678 'out/a b.txt' -o 'a b.txt'"), "{failure}");
        }
    }

    #[test]
    fn a_part_of_a_path_is_encoded() {
        assert_eq!(encode("a b#ü.txt"), "a%20b%23%C3%BC.txt");
    }
}
