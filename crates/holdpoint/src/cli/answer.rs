//! `holdpoint answer`: decide a hold.

use std::{collections::BTreeMap, path::PathBuf};

use clap::{Args, ValueEnum};
use holdpoint_model::HoldKind;
use serde_json::{Value, json};

use crate::{
    cli::{Context, ask::name_and_value, attach, edit},
    client::{Api, ids, types::HoldItem},
    dialogue::{Dialogue, Step, bound},
    failure::{Exit, Failure},
    render::{holds, paint::Paint},
    term::{self, Lines},
};

/// What fits which kind of hold, as `holdpoint answer --help` shows it.
const BY_KIND: &str = "\
Without an answer, on a terminal, it shows all of what is asked, and asks you. What fits:
  reply     --reply TEXT [--file FILE]
  tool      --allow [--scope conversation], --deny [REASON], --edit JSON (its arguments, changed)
  plan      --allow, --deny [REASON] (sends it back), --edit TEXT (its new text)
  question  --answer [QUESTION=]ANSWER [--note QUESTION=NOTE], --deny (no answer at all)";

/// Arguments of `answer`. Without one of the answers, on a terminal, it shows the ask and asks you.
#[derive(Debug, Args)]
#[command(after_help = BY_KIND)]
pub struct AnswerArgs {
    /// Which hold: its id, or an end or beginning of it that means one only
    pub hold: String,
    /// Let it run
    #[arg(long, group = "what")]
    pub allow: bool,
    /// Do not let it run, and say why
    #[arg(long, group = "what", value_name = "REASON", num_args = 0..=1, default_missing_value = "")]
    pub deny: Option<String>,
    /// The next message of the conversation
    #[arg(long, group = "what", value_name = "TEXT")]
    pub reply: Option<String>,
    /// Answer a question: QUESTION is its text, its number, or left out where there is one only
    #[arg(long = "answer", group = "what", value_name = "QUESTION=ANSWER")]
    pub answers: Vec<String>,
    /// Let it run with these arguments instead (a plan: its new text)
    #[arg(long, group = "what", value_name = "JSON")]
    pub edit: Option<String>,
    /// With --allow: how far it reaches
    #[arg(long, value_enum, requires = "allow")]
    pub scope: Option<ScopeArg>,
    /// With --answer: a note beside the answer to a question
    #[arg(long = "note", value_name = "QUESTION=NOTE", requires = "answers", value_parser = name_and_value)]
    pub notes: Vec<(String, String)>,
    /// With --reply: a file to attach; may be given several times
    #[arg(long = "file", value_name = "FILE", requires = "reply")]
    pub files: Vec<PathBuf>,
}

/// How far an "allow" reaches.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ScopeArg {
    /// This ask alone
    Once,
    /// This kind of ask for the rest of this conversation
    Conversation,
}

/// Carries it out.
///
/// # Errors
/// When it is refused, or came too late.
pub(super) async fn run(args: AnswerArgs, context: &Context) -> anyhow::Result<()> {
    let api = context.api()?;
    let hold = ids::hold(&api, &args.hold).await?;
    match decision(&args, &hold)? {
        Some(decision) => send(&api, &hold, &decision, context).await,
        None if hold.state != "open" => {
            // Nothing to decide; the answer says who was first.
            Err(Failure::new(format!("this hold is {}", hold.state)).exit(Exit::Conflict).into())
        }
        None if can_ask(context) => interactive(&api, hold, context).await,
        None => Err(Failure::new("no answer given")
            .exit(Exit::Usage)
            .why(holds::hold(&hold, Paint(false)))
            .next(holds::commands(&hold).join("\n→ "))
            .into()),
    }
}

/// What the flags say; None where they say nothing.
fn decision(args: &AnswerArgs, hold: &HoldItem) -> Result<Option<Value>, Failure> {
    let decision = if args.allow {
        match args.scope {
            Some(ScopeArg::Conversation) => json!({"action": "allow", "scope": "conversation"}),
            Some(ScopeArg::Once) | None => json!({"action": "allow"}),
        }
    } else if let Some(reason) = &args.deny {
        json!({"action": "deny", "message": reason})
    } else if let Some(text) = &args.reply {
        let mut body = json!({"action": "reply", "message": text});
        let files = attach::read(&args.files)?;
        if !files.is_empty() {
            body["files"] = Value::Array(files);
        }
        body
    } else if let Some(edited) = &args.edit {
        json!({"action": "allow", "input": edited_input(edited, hold)?})
    } else if !args.answers.is_empty() {
        let mut answers = BTreeMap::new();
        for answer in &args.answers {
            let (question, text) = answer_of(answer, hold)?;
            answers.insert(question, text);
        }
        let mut body = json!({"action": "answer", "answers": answers});
        if !args.notes.is_empty() {
            let notes: BTreeMap<String, String> = args
                .notes
                .iter()
                .map(|(question, note)| Ok((question_named(question, hold)?, note.clone())))
                .collect::<Result<_, Failure>>()?;
            body["notes"] = json!(notes);
        }
        body
    } else {
        return Ok(None);
    };
    Ok(Some(bound(hold, decision)))
}

fn edited_input(text: &str, hold: &HoldItem) -> Result<Value, Failure> {
    match serde_json::from_str::<Value>(text) {
        Ok(input @ Value::Object(_)) => Ok(input),
        _ if hold.kind == Some(HoldKind::Plan) => Ok(json!({"plan": text})),
        Ok(_) => Err(Failure::new("--edit takes a JSON object").exit(Exit::Usage)),
        Err(error) => Err(Failure::new("--edit takes JSON").exit(Exit::Usage).why(error)),
    }
}

/// `QUESTION=ANSWER`, or an answer alone where there is one question. The text of a question may
/// itself hold a `=`, so whole questions are looked for first.
fn answer_of(text: &str, hold: &HoldItem) -> Result<(String, String), Failure> {
    let questions = hold.questions();
    for question in &questions {
        if let Some(answer) = text.strip_prefix(&question.question).and_then(|rest| rest.strip_prefix('=')) {
            return Ok((question.question.clone(), answer.to_owned()));
        }
    }
    let named = text.split_once('=').and_then(|(name, answer)| {
        question_named(name, hold).ok().map(|question| (question, answer.to_owned()))
    });
    match (named, questions.as_slice()) {
        (Some(found), _) => Ok(found),
        (None, [only]) => Ok((only.question.clone(), text.to_owned())),
        (None, _) => Err(no_such_question(text, hold)),
    }
}

/// A question by its text, its header or its number.
fn question_named(name: &str, hold: &HoldItem) -> Result<String, Failure> {
    let questions = hold.questions();
    let by_number = name.parse::<usize>().ok().and_then(|n| n.checked_sub(1)).and_then(|i| questions.get(i));
    questions
        .iter()
        .find(|question| question.question == name || (!name.is_empty() && question.header == name))
        .or(by_number)
        .map(|question| question.question.clone())
        .ok_or_else(|| no_such_question(name, hold))
}

fn no_such_question(text: &str, hold: &HoldItem) -> Failure {
    let questions: Vec<String> =
        hold.questions().iter().enumerate().map(|(i, q)| format!("{}  {}", i + 1, q.question)).collect();
    let why = if questions.is_empty() { "this hold asks no question".into() } else { questions.join("\n") };
    Failure::new(format!("{text:?} answers no question of this hold"))
        .exit(Exit::Usage)
        .why(why)
        .next(holds::commands(hold).first().cloned().unwrap_or_default())
}

async fn send(api: &Api, hold: &HoldItem, decision: &Value, context: &Context) -> anyhow::Result<()> {
    let answer = api.post(&format!("/v1/holds/{}/decision", hold.id), decision).await?;
    if context.json {
        return term::json(&answer);
    }
    let done = match decision["action"].as_str() {
        Some("allow") => "allowed",
        Some("deny") => "denied",
        Some("reply") => "sent",
        _ => "answered",
    };
    Ok(term::line(done)?)
}

/// Whether the person can be shown the ask, and type.
fn can_ask(context: &Context) -> bool {
    let screen = if context.json { context.term.has_error_screen } else { context.term.has_screen };
    context.term.has_keyboard && screen
}

async fn interactive(api: &Api, hold: HoldItem, context: &Context) -> anyhow::Result<()> {
    // With --json, stdout is for the answer alone: what a person reads goes to stderr.
    let say = |text: &str| {
        if context.json {
            eprint!("{text}");
            Ok(())
        } else {
            term::print(text)
        }
    };
    let color = if context.json { context.term.error_color } else { context.term.color };
    say(&format!("{}\n", holds::hold(&hold, Paint(color))))?;
    let mut lines = Lines::start();
    let suffix = if hold.kind == Some(HoldKind::Plan) { ".md" } else { ".json" };
    let mut dialogue = Dialogue::new(hold.clone());
    let mut step = Step::Ask(dialogue.prompt());
    loop {
        step = match step {
            Step::Ask(prompt) => {
                say(&prompt)?;
                match lines.next().await {
                    Some(line) => dialogue.line(&line),
                    None => Step::Leave,
                }
            }
            Step::Edit(text) => match edit::text(&context.environment, &text, suffix).await {
                Ok(text) => dialogue.edited(&text),
                Err(failure) => Step::Ask(format!("{failure}\n{}", dialogue.prompt())),
            },
            Step::Send(decision) => return send(api, &hold, &decision, context).await,
            Step::Finish => {
                let path = format!("/v1/executions/{}/finish", hold.execution);
                let answer = api.post(&path, &json!({})).await?;
                return if context.json { term::json(&answer) } else { Ok(term::line("finished")?) };
            }
            Step::Leave if context.json => return term::json(&json!({"id": hold.id, "state": hold.state})),
            Step::Leave => return Ok(term::line("left for later")?),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::Cli, cli::Command, client::types::SubjectItem};
    use clap::Parser as _;

    fn args(words: &[&str]) -> AnswerArgs {
        let words = ["holdpoint", "answer", "h"].iter().chain(words);
        match Cli::try_parse_from(words).expect("parses").command {
            Command::Answer(args) => args,
            other => panic!("{other:?}"),
        }
    }

    fn questions() -> HoldItem {
        let input = json!({"questions": [
            {"question": "Is a=b?", "header": "Equal", "options": []},
            {"question": "Which?", "header": "Colour", "options": []},
        ]});
        HoldItem {
            kind: Some(HoldKind::Question),
            subject: SubjectItem { input, ..SubjectItem::default() },
            ..HoldItem::default()
        }
    }

    #[test]
    fn flags_become_decisions() {
        let hold = HoldItem {
            subject: SubjectItem { digest: "d".into(), ..SubjectItem::default() },
            ..HoldItem::default()
        };
        let sent = |words: &[&str]| decision(&args(words), &hold).expect("fits").unwrap_or_default();
        assert_eq!(sent(&["--allow"]), json!({"action": "allow", "digest": "d"}));
        assert_eq!(sent(&["--allow", "--scope", "conversation"])["scope"], "conversation");
        assert_eq!(sent(&["--deny"])["message"], "");
        assert_eq!(sent(&["--deny", "no"])["message"], "no");
        assert_eq!(sent(&["--reply", "hi"])["message"], "hi");
        assert_eq!(sent(&["--edit", "{\"a\":1}"])["input"], json!({"a": 1}));
        assert_eq!(sent(&[]), Value::Null);
        assert!(decision(&args(&["--edit", "ls"]), &hold).is_err());
    }

    #[test]
    fn contradictions_are_refused_by_the_parser() {
        for words in [["--allow", "--deny"], ["--scope", "conversation"], ["--file", "x"]] {
            let all = ["holdpoint", "answer", "h"].iter().chain(&words);
            assert!(Cli::try_parse_from(all).is_err(), "{words:?}");
        }
    }

    #[test]
    fn questions_are_named_by_text_header_or_number() {
        let hold = questions();
        let sent = |words: &[&str]| decision(&args(words), &hold).map(Option::unwrap_or_default);
        let both = json!({"Is a=b?": "yes", "Which?": "x=y"});
        assert_eq!(sent(&["--answer", "Is a=b?=yes", "--answer", "2=x=y"]).expect("fits")["answers"], both);
        assert_eq!(
            sent(&["--answer", "Equal=yes", "--answer", "Colour=x=y"]).expect("fits")["answers"],
            both
        );
        assert!(sent(&["--answer", "yes"]).is_err());
        assert_eq!(
            sent(&["--answer", "1=y", "--note", "2=why"]).expect("fits")["notes"],
            json!({"Which?": "why"})
        );
    }
}
