//! The refusals of the real API, in its words. A rehearsal that accepts more than the API would prove
//! nothing.

use std::collections::HashSet;

use super::{ids, position::Position};
use crate::{
    error::ApiError,
    wire::{Block, Merged, Request, Role},
};

/// Refuses what the API refuses with a 400, but for what only the one who signed can tell.
pub(super) fn check(request: &Request, merged: &[Merged<'_>]) -> Result<(), ApiError> {
    let missing = |field| Err(ApiError::invalid(format!("{field}: Field required")));
    if request.model.as_deref().is_none_or(str::is_empty) {
        return missing("model");
    }
    match request.max_tokens {
        None => return missing("max_tokens"),
        Some(0) => return Err(ApiError::invalid("max_tokens: Input should be greater than or equal to 1")),
        Some(_) => {}
    }
    if request.messages.is_none() {
        return missing("messages");
    }
    match merged.first() {
        None => return Err(ApiError::invalid("messages: at least one message is required")),
        Some(first) if first.role != Role::User => {
            return Err(ApiError::invalid("messages: first message must use the \"user\" role"));
        }
        Some(_) => {}
    }
    for (index, message) in merged.iter().enumerate() {
        check_blocks(index, message)?;
        check_results(index, message, index.checked_sub(1).map(|before| &merged[before]))?;
        if message.role == Role::Assistant {
            check_tool_uses(index, message, merged.get(index + 1))?;
        }
    }
    Ok(())
}

fn check_blocks(index: usize, message: &Merged<'_>) -> Result<(), ApiError> {
    if message.blocks.is_empty() && message.role == Role::User {
        return Err(ApiError::invalid(format!(
            "messages.{index}: user messages must have non-empty content"
        )));
    }
    for block in &message.blocks {
        match block.as_text() {
            Some("") => {
                return Err(ApiError::invalid("messages: text content blocks must be non-empty"));
            }
            Some(text) if text.trim().is_empty() => {
                return Err(ApiError::invalid(
                    "messages: text content blocks must contain non-whitespace text",
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Every tool use has its result in the next message.
fn check_tool_uses(index: usize, message: &Merged<'_>, next: Option<&Merged<'_>>) -> Result<(), ApiError> {
    let mut seen = HashSet::new();
    for id in message.blocks.iter().filter_map(|block| block.as_tool_use()) {
        if !seen.insert(id) {
            return Err(ApiError::invalid(format!("messages.{index}: `tool_use` ids must be unique: {id}")));
        }
    }
    let answered: HashSet<&str> =
        next.into_iter().flat_map(|next| &next.blocks).filter_map(|block| block.as_tool_result()).collect();
    let open: Vec<&str> = message
        .blocks
        .iter()
        .filter_map(|block| block.as_tool_use())
        .filter(|id| !answered.contains(id))
        .collect();
    if open.is_empty() {
        return Ok(());
    }
    Err(ApiError::invalid(format!(
        "messages.{index}: `tool_use` ids were found without `tool_result` blocks immediately after: {}. Each \
         `tool_use` block must have a corresponding `tool_result` block in the next message.",
        open.join(", ")
    )))
}

/// Every result has its tool use in the message before, and comes once.
fn check_results(index: usize, message: &Merged<'_>, before: Option<&Merged<'_>>) -> Result<(), ApiError> {
    let asked: HashSet<&str> = before
        .into_iter()
        .flat_map(|before| &before.blocks)
        .filter_map(|block| block.as_tool_use())
        .collect();
    let mut seen = HashSet::new();
    for id in message.blocks.iter().filter_map(|block| block.as_tool_result()) {
        if !asked.contains(id) {
            return Err(ApiError::invalid(format!(
                "messages.{index}: unexpected `tool_use_id` found in `tool_result` blocks: {id}. Each \
                 `tool_result` block must have a corresponding `tool_use` block in the previous message."
            )));
        }
        if !seen.insert(id) {
            return Err(ApiError::invalid(format!(
                "messages.{index}: each tool_use must have a single result. Found multiple `tool_result` blocks with id: {id}"
            )));
        }
    }
    Ok(())
}

/// Signatures fit their thinking everywhere; and in the present turn every tool use that was thought
/// about still has that thought before it.
pub(super) fn check_thinking(merged: &[Merged<'_>]) -> Result<(), ApiError> {
    for (index, message) in merged.iter().enumerate() {
        for (at, block) in message.blocks.iter().enumerate() {
            if block.kind == "thinking" && signed_by(block).is_none() {
                return Err(ApiError::invalid(format!(
                    "messages.{index}.content.{at}: Invalid `signature` in `thinking` block"
                )));
            }
        }
    }
    let turn = Position::of(merged).turn;
    let begins = (0..merged.len()).find(|end| Position::of(&merged[..=*end]).turn == turn).unwrap_or(0);
    for (index, message) in merged.iter().enumerate().skip(begins).filter(|(_, m)| m.role == Role::Assistant)
    {
        let mut thoughts = HashSet::new();
        for (at, block) in message.blocks.iter().enumerate() {
            thoughts.extend(signed_by(block));
            let read = block.as_tool_use().and_then(ids::read_tool_use);
            if read.is_some_and(|(call, thinks)| thinks && !thoughts.contains(call)) {
                return Err(ApiError::invalid(format!(
                    "messages.{index}.content.{at}.type: Expected `thinking` or `redacted_thinking`, but found \
                     `tool_use`. When `thinking` is enabled, a final `assistant` message must start with a thinking \
                     block (preceding the lastmost set of `tool_use` and `tool_result` blocks). We recommend you \
                     include thinking blocks from previous turns."
                )));
            }
        }
    }
    Ok(())
}

/// The call that a thinking block was signed for.
fn signed_by(block: &Block) -> Option<&str> {
    if block.kind != "thinking" {
        return None;
    }
    ids::read_signature(block.signature.as_deref()?, block.thinking.as_deref()?)
}
