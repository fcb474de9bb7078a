//! The table of cases: `cases.txt`, which says at its head how it is read.

use super::support::{Files, as_files, merged};

const TABLE: &str = include_str!("cases.txt");

/// The table is to have this many cases at least.
const FEWEST: usize = 60;

#[derive(Default)]
struct Case {
    name: String,
    master: Files,
    project: Files,
    gives: Files,
    says: Vec<(Says, String)>,
}

#[derive(Clone, Copy, PartialEq)]
enum Says {
    Refused,
    Note,
    Nothing,
}

#[test]
fn every_case_of_the_table_comes_out_as_it_says() {
    let cases = parse(TABLE);
    let wrong: Vec<String> = cases.iter().filter_map(|case| tried(case).err()).collect();
    assert!(wrong.is_empty(), "{} of {} cases:\n\n{}", wrong.len(), cases.len(), wrong.join("\n\n"));
    assert!(cases.len() >= FEWEST, "{} cases", cases.len());
}

fn tried(case: &Case) -> Result<(), String> {
    let wrong = |why: String| Err(format!("== {}\n{why}", case.name));
    let refused = case.says.iter().any(|(says, _)| *says == Says::Refused);
    match merged(&case.master, &case.project) {
        Err(report) => {
            let report = report.to_string();
            if !refused {
                return wrong(report);
            }
            let missing = case.says.iter().find(|(_, text)| !report.contains(text.as_str()));
            missing.map_or(Ok(()), |(_, text)| wrong(format!("does not say: {text}\n{report}")))
        }
        Ok(it) => {
            let out = as_files(&it);
            if refused || out != case.gives {
                return wrong(format!("gives {out:#?}"));
            }
            let notes: Vec<String> = it.notes.iter().map(ToString::to_string).collect();
            for (says, text) in &case.says {
                let fine = match says {
                    Says::Note => notes.iter().any(|note| note.contains(text.as_str())),
                    Says::Nothing => it.is_empty(),
                    Says::Refused => false,
                };
                if !fine {
                    return wrong(format!("does not say: {text}\n{notes:#?}"));
                }
            }
            // What came out is as good a pair of repositories as any.
            let again = merged(&out, &out).map_err(|report| format!("== {}, again\n{report}", case.name))?;
            if as_files(&again) != out {
                return wrong(format!("gives something else a second time: {:#?}", as_files(&again)));
            }
            // npm's overrides are the only ones of which one goes before the other.
            if !case.master.values().chain(case.project.values()).any(|text| text.contains("overrides")) {
                let turned =
                    merged(&case.project, &case.master).map_err(|report| format!("turned\n{report}"))?;
                if as_files(&turned) != out {
                    return wrong(format!("gives something else turned around: {:#?}", as_files(&turned)));
                }
            }
            Ok(())
        }
    }
}

fn parse(table: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut at: Option<(String, Vec<&str>)> = None;
    for line in table.lines().skip_while(|line| !line.starts_with("== ")) {
        if (line.starts_with("== ") || line.starts_with("-- "))
            && let Some((header, body)) = at.take()
            && let Some(case) = cases.last_mut()
        {
            section(case, &header, &body);
        }
        if let Some(name) = line.strip_prefix("== ") {
            cases.push(Case { name: name.to_owned(), ..Case::default() });
        } else if let Some(header) = line.strip_prefix("-- ") {
            at = Some((header.to_owned(), Vec::new()));
        } else if let Some((_, body)) = &mut at {
            body.push(line);
        }
    }
    if let (Some((header, body)), Some(case)) = (at, cases.last_mut()) {
        section(case, &header, &body);
    }
    cases
}

fn section(case: &mut Case, header: &str, body: &[&str]) {
    let last = body.iter().rposition(|line| !line.is_empty()).map_or(0, |at| at + 1);
    let body = &body[..last];
    let mut words = header.split_whitespace();
    let (what, name, marks) =
        (words.next().unwrap_or_default(), words.next(), words.next().unwrap_or_default());
    let said = |says| body.iter().map(move |line| (says, with_hashes(line)));
    match what {
        "refused" => case.says.extend(said(Says::Refused)),
        "note" => case.says.extend(said(Says::Note)),
        "nothing" => case.says.push((Says::Nothing, String::new())),
        _ => {
            let name = name.expect("a file's name");
            let path = name.strip_prefix('/').map_or(format!("dependencies/{name}"), str::to_owned);
            let end = if marks.contains("crlf") { "\r\n" } else { "\n" };
            let text: String = body.iter().map(|line| with_hashes(line) + end).collect();
            let text = if marks.contains("bom") { format!("\u{feff}{text}") } else { text };
            let files = match what {
                "master" => &mut case.master,
                "project" => &mut case.project,
                "gives" => &mut case.gives,
                other => panic!("{}: `-- {other}` means nothing", case.name),
            };
            files.insert(path, text);
        }
    }
}

/// `{a}` stands for a hash of 64 `a`.
fn with_hashes(line: &str) -> String {
    "abcdef".chars().fold(line.to_owned(), |line, digit| {
        line.replace(&format!("{{{digit}}}"), &format!("sha256:{}", digit.to_string().repeat(64)))
    })
}
