//! Where on its cassette a conversation is, and whether it still is the recorded one.
//!
//! Read off each request's own messages, like the place in a script: the last recorded response that they
//! hold says which one is next. So it works after any restart; only which of several subagents with one
//! prompt is which has to be remembered by the caller.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use super::{Cassette, PLACE, Taped, with_strings};
use crate::{
    gist::{Gist, Outcome},
    replay,
    thread::Thread,
    upstream::Call,
    wire::{Message, Role},
};

/// Characters of what was said that a message quotes.
const QUOTED_CHARS: usize = 120;

/// The next answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Chosen {
    /// Its number on the cassette, from 1.
    pub(crate) number: usize,
    /// The recorded thread that it is of.
    pub(crate) thread: Thread,
    /// The response, with the session's folder where it belongs.
    pub(crate) response: Value,
}

/// A recorded conversation: calls with their numbers, from 1.
type Chain<'a> = Vec<(usize, &'a Taped)>;

impl Cassette {
    /// The answer to a call. `known` is the recorded thread that a subagent was found to be before; `taken` are
    /// those that others of its conversation are.
    ///
    /// # Errors
    /// How the conversation differs from the recorded one: what was expected, and what came.
    pub(crate) fn answer(
        &self,
        call: &Call,
        known: Option<&Thread>,
        taken: &HashSet<Thread>,
    ) -> Result<Option<Chosen>, String> {
        let came = Gist::of(&call.thread, &call.request, &call.place);
        let Some(chain) = self.chain(call, &came, known, taken) else {
            if call.thread == Thread::Side {
                return Ok(None);
            }
            let is_agent = |thread: &Thread| matches!(thread, Thread::Agent(_));
            let same_kind = |taped: &&Taped| is_agent(&taped.thread) == is_agent(&call.thread);
            let recorded = self.calls.iter().find(same_kind).map_or_else(
                || "none was".to_owned(),
                |taped| format!("one that begins with {} was", quoted(&taped.asked.begins)),
            );
            let came = of_thread(&call.thread, &came.begins);
            return Err(self.diverged(&format!("{came} was not recorded, {recorded}")));
        };
        let next = if call.thread == Thread::Side { 0 } else { self.contained(&chain, call)? };
        let Some((number, taped)) = chain.get(next) else {
            let last = chain.last().map_or(0, |(number, _)| *number);
            let of = of_thread(&call.thread, &came.begins);
            return Err(
                self.diverged(&format!("{of} goes on after call {last}, the last one recorded of it"))
            );
        };
        if call.thread != Thread::Side {
            differing(&taped.asked.said, &came.said)
                .or_else(|| differing_results(&taped.asked.results, &came.results, &self.names()))
                .map_or(Ok(()), |how| Err(self.diverged(&format!("at call {number}, {how}"))))?;
        }
        let response = with_strings(&taped.response, &|text| text.replace(PLACE, &call.place));
        Ok(Some(Chosen { number: *number, thread: taped.thread.clone(), response }))
    }

    fn chain(
        &self,
        call: &Call,
        came: &Gist,
        known: Option<&Thread>,
        taken: &HashSet<Thread>,
    ) -> Option<Chain<'_>> {
        let is_agent = |thread: &Thread| matches!(thread, Thread::Agent(_));
        let mut chains: BTreeMap<usize, Chain<'_>> = BTreeMap::new();
        for (index, taped) in self.calls.iter().enumerate() {
            let same_kind =
                taped.thread == call.thread || (is_agent(&taped.thread) && is_agent(&call.thread));
            if same_kind && taped.asked.begins == came.begins {
                let first = self.calls.iter().position(|one| one.thread == taped.thread);
                chains.entry(first.unwrap_or(index)).or_default().push((index + 1, taped));
            }
        }
        let mut chains: Vec<Chain<'_>> = chains.into_values().collect();
        let of = |chain: &Chain<'_>| chain.first().map(|(_, taped)| taped.thread.clone());
        let by_known = chains.iter().position(|chain| known.is_some() && of(chain).as_ref() == known);
        let by_content = || {
            let holds = |chain: &Chain<'_>| {
                let messages = answers(call);
                chain.first().is_some_and(|(_, first)| messages.iter().any(|message| first.is_in(message)))
            };
            chains.iter().position(holds)
        };
        let free =
            || chains.iter().position(|chain| of(chain).is_some_and(|thread| !taken.contains(&thread)));
        let at = by_known.or_else(by_content).or_else(free).unwrap_or_default();
        (at < chains.len()).then(|| chains.swap_remove(at))
    }

    /// How far along the chain the request is.
    fn contained(&self, chain: &Chain<'_>, call: &Call) -> Result<usize, String> {
        let mut next = 0;
        for message in answers(call) {
            // An answer may come in parts, as messages of their own.
            if chain[..next].iter().any(|(_, earlier)| earlier.shares_ids(message)) {
                continue;
            }
            match (next..chain.len()).find(|at| chain[*at].1.is_in(message)) {
                Some(at) => next = at + 1,
                None => {
                    let stray = message.content.0.iter().find_map(|block| block.as_tool_use());
                    if let Some(id) = stray {
                        return Err(self.diverged(&format!("the tool use {id} was not recorded")));
                    }
                    // Words of the CLI's own in the model's place, as after an interrupt.
                }
            }
        }
        Ok(next)
    }

    /// Tool uses by their names.
    fn names(&self) -> BTreeMap<&str, &str> {
        let blocks =
            self.calls.iter().flat_map(|call| call.response["content"].as_array().into_iter().flatten());
        blocks.filter_map(|block| Some((block["id"].as_str()?, block["name"].as_str()?))).collect()
    }

    fn diverged(&self, how: &str) -> String {
        format!(
            "the conversation is not the one on the cassette {}: {how}. Repeat the recorded one, or record this one \
             and export it with `holdpoint cassette export`",
            self.name
        )
    }
}

impl Taped {
    /// Whether the message is of this response, known by what can only be of it.
    fn shares_ids(&self, message: &Message) -> bool {
        message.content.0.iter().any(|block| {
            let tool_use = block.as_tool_use();
            let signed = block.signature.as_deref().and_then(replay::mark);
            tool_use.is_some_and(|id| self.footprint.tool_uses.iter().any(|own| own == id))
                || signed.is_some_and(|mark| self.footprint.signatures.contains(&mark))
        })
    }

    /// Whether the message is of this response. A text is no id: it counts where there is nothing better.
    fn is_in(&self, message: &Message) -> bool {
        let texts = || message.content.0.iter().filter_map(|block| block.as_text().and_then(replay::mark));
        let all_texts = || {
            let own = &self.footprint.texts;
            !own.is_empty() && own.iter().all(|mark| texts().any(|text| text == *mark))
        };
        self.shares_ids(message) || (self.footprint.tool_uses.is_empty() && all_texts())
    }
}

fn answers(call: &Call) -> Vec<&Message> {
    call.request.messages().iter().filter(|message| message.role == Role::Assistant).collect()
}

fn of_thread(thread: &Thread, begins: &str) -> String {
    let what =
        if matches!(thread, Thread::Agent(_)) { "a subagent's conversation" } else { "a conversation" };
    format!("{what} that begins with {}", quoted(begins))
}

fn quoted(text: &str) -> String {
    let mut short: String = text.chars().take(QUOTED_CHARS).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("“{short}”")
}

fn differing(expected: &[String], came: &[String]) -> Option<String> {
    let said = |texts: &[String]| match texts {
        [] => "nothing".to_owned(),
        texts => texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(" and "),
    };
    (expected != came).then(|| {
        format!("it was expected that the person says {}, and they said {}", said(expected), said(came))
    })
}

fn differing_results(expected: &[Outcome], came: &[Outcome], names: &BTreeMap<&str, &str>) -> Option<String> {
    let how = |outcomes: &[Outcome], id: &str| {
        outcomes.iter().find(|outcome| outcome.tool_use == id).map_or("had no result", |outcome| {
            if outcome.failed { "failed or was refused" } else { "succeeded" }
        })
    };
    let all = expected.iter().chain(came).map(|outcome| outcome.tool_use.as_str());
    let mut differs = all.filter(|id| how(expected, id) != how(came, id));
    let id = differs.next()?;
    let name = names.get(id).copied().unwrap_or("a tool");
    Some(format!("it was expected that {name} ({id}) {}, and it {}", how(expected, id), how(came, id)))
}
