//! What the people decide: by the seed, within what the conversation is about.

use serde_json::{Value, json};

use super::scenes::Manner;

/// The decision on a hold that is no reply.
pub(super) fn decide(manner: Manner, hold: &Value, rng: &mut fastrand::Rng) -> Value {
    match hold["kind"].as_str() {
        Some("question") if rng.u8(..100) < 80 => {
            let answer = ["A", "B", "neither of them"][rng.usize(..3)];
            json!({"action": "answer", "answers": {"Which?": answer}})
        }
        Some("plan") => match rng.u8(..100) {
            0..50 => json!({"action": "allow"}),
            50..80 => json!({"action": "allow", "input": {"plan": format!("1. Differently {}", word(rng))}}),
            _ => deny(rng),
        },
        Some("tool") => tool(manner, hold, rng),
        _ => deny(rng),
    }
}

fn tool(manner: Manner, hold: &Value, rng: &mut fastrand::Rng) -> Value {
    let subject = &hold["subject"];
    let once_more = subject["caution"].is_string();
    match manner {
        // It may have run: sometimes a person wants it again.
        _ if once_more && rng.u8(..100) < 40 => deny(rng),
        _ if once_more => json!({"action": "allow", "digest": subject["digest"]}),
        Manner::Deny => deny(rng),
        Manner::Edit => edit(subject, rng),
        Manner::Grant if subject["grant"].is_string() => json!({"action": "allow", "scope": "conversation"}),
        Manner::Mixed => match rng.u8(..100) {
            0..60 => json!({"action": "allow", "digest": subject["digest"]}),
            60..80 => deny(rng),
            _ => edit(subject, rng),
        },
        Manner::Allow | Manner::Grant | Manner::Cancel => json!({"action": "allow"}),
    }
}

/// The same command with another token: which of the two ran can be seen.
fn edit(subject: &Value, rng: &mut fastrand::Rng) -> Value {
    let Some(command) = subject["input"]["command"].as_str() else { return json!({"action": "allow"}) };
    let mut words: Vec<String> = command.split(' ').map(str::to_owned).collect();
    let Some(token) = words.get_mut(3) else { return json!({"action": "allow"}) };
    *token = format!("edited-{}", word(rng));
    let mut input = subject["input"].clone();
    input["command"] = json!(words.join(" "));
    json!({"action": "allow", "input": input, "digest": subject["digest"]})
}

fn deny(rng: &mut fastrand::Rng) -> Value {
    json!({"action": "deny", "message": format!("no, {}", word(rng))})
}

/// Something unlike anything else.
pub(super) fn word(rng: &mut fastrand::Rng) -> String {
    std::iter::repeat_with(|| rng.lowercase()).take(10).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::check::words_of;

    #[test]
    fn an_edit_changes_the_token_alone() {
        let subject = json!({"input": {"command": "/x/note 0 0.1 abc first", "description": "d"}});
        let edited = edit(&subject, &mut fastrand::Rng::with_seed(1));
        let (token, label) = words_of(&edited["input"]).expect("words");
        assert!(token.starts_with("edited-"), "{token}");
        assert_eq!(label, "first");
        assert_eq!(edited["input"]["description"], "d");
    }
}
