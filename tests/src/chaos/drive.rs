//! One conversation from its form to its end, with people who answer late, twice, and at the same time.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    answers::{self, word},
    check::{Answered, Outcome, Said},
    client::Client,
    scenes::{LINGERING, Manner, PLAYS, Play},
    watch::Watching,
    world::{Active, Conversation, World, in_secs},
};

/// How long to wait for news before looking again.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// The last events of a conversation may still be on their way to who watches it.
const LAST_NEWS: Duration = Duration::from_secs(10);

/// One in so many holds is answered by two people at the same moment; one in so many is answered again.
const RIVALS: u8 = 5;
const ANSWERED_AGAIN: u8 = 8;

struct Talk {
    world: Arc<World>,
    id: String,
    play: Play,
    rng: fastrand::Rng,
    watching: Watching,
    replies: usize,
    messages: usize,
}

/// Plays conversation `number`; writes down what came of it.
pub(super) async fn converse(world: Arc<World>, number: usize, seed: u64, patience_s: u64) -> Result<()> {
    let play = play(number, seed);
    let mut rng = fastrand::Rng::with_seed(mixed(seed, number));
    let agent = play.agent.unwrap_or(LINGERING[rng.usize(..LINGERING.len())]);
    let prompt = format!("{} c{number}-{}", play.scene, word(&mut rng));
    let id = world.people[0].start(agent, &prompt).await?;
    world.active().insert(id.clone(), Active::default());
    let watching = Watching::begin(world.clone(), id.clone());
    let (replies, messages) = (play.replies, play.messages);
    let mut talk = Talk { world: world.clone(), id: id.clone(), play, rng, watching, replies, messages };
    let status = talk.play_to_the_end(patience_s).await;
    world.active().remove(&id);
    let expected_status = if play.manner == Manner::Cancel { "cancelled" } else { "finished" };
    let wait = if matches!(status.as_str(), "finished" | "error" | "cancelled") {
        LAST_NEWS
    } else {
        Duration::ZERO
    };
    let seen = talk.watching.end(wait).await;
    world.records().conversations.push(Conversation { id, play: play.name, expected_status, status, seen });
    Ok(())
}

/// Every kind once in so many conversations, in an order of the seed's.
fn play(number: usize, seed: u64) -> Play {
    let mut order: Vec<usize> = (0..PLAYS.len()).collect();
    fastrand::Rng::with_seed(mixed(seed, number / PLAYS.len() + usize::MAX / 2)).shuffle(&mut order);
    PLAYS[order[number % PLAYS.len()]]
}

/// A seed for each conversation, far from its neighbours'.
fn mixed(seed: u64, number: usize) -> u64 {
    seed ^ (number as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Talk {
    async fn play_to_the_end(&mut self, patience_s: u64) -> String {
        let deadline = in_secs(patience_s);
        loop {
            let (_, execution) = self.world.people[0].get(&format!("/v1/executions/{}", self.id)).await;
            let status = execution["status"].as_str().unwrap_or("unknown").to_owned();
            if matches!(status.as_str(), "finished" | "error" | "cancelled") {
                return status;
            }
            if std::time::Instant::now() > deadline {
                // It is stuck; the others need its place.
                let _ = self.command("cancel").await;
                return status;
            }
            let (_, open) =
                self.world.people[0].get(&format!("/v1/holds?status=open&execution={}", self.id)).await;
            let open = open["items"].as_array().cloned().unwrap_or_default();
            if self.messages > 0 && self.watching.has_after(&["assistant"], 0) && self.rng.u8(..100) < 40 {
                self.message().await;
            } else if open.is_empty() {
                self.watching.news(LOOK_EVERY).await;
            } else {
                let hold = &open[self.rng.usize(..open.len())];
                self.attend(hold).await;
            }
        }
    }

    /// A hold needs somebody.
    async fn attend(&mut self, hold: &Value) {
        self.think().await;
        if hold["kind"] != "reply" {
            if self.play.manner == Manner::Cancel {
                if self.command("cancel").await == Outcome::Taken {
                    // Too late: whoever answers now has to be told so.
                    self.answer(hold, json!({"action": "allow"}), 0).await;
                }
                return;
            }
            let decision = answers::decide(self.play.manner, hold, &mut self.rng);
            self.with_rivals(hold, decision).await;
        } else if self.messages > 0 {
            self.message().await;
        } else if self.replies > 0 {
            let text = format!("reply {}", word(&mut self.rng));
            if self.with_rivals(hold, json!({"action": "reply", "message": text})).await {
                self.replies -= 1;
            }
        } else {
            let _ = self.command("finish").await;
        }
    }

    /// Answers, sometimes with somebody else at the same moment, sometimes once more afterwards. True if
    /// the hold is answered, whoever did it.
    async fn with_rivals(&mut self, hold: &Value, decision: Value) -> bool {
        let first = self.rng.usize(..2);
        let other = match hold["kind"].as_str() {
            Some("reply") => json!({"action": "reply", "message": format!("rival {}", word(&mut self.rng))}),
            _ => json!({"action": "deny", "message": format!("rather not, {}", word(&mut self.rng))}),
        };
        if self.rng.u8(..RIVALS) == 0 {
            let (ours, theirs) =
                tokio::join!(self.answer(hold, decision, first), self.answer(hold, other, 1 - first));
            return ours || theirs;
        }
        let answered = self.answer(hold, decision, first).await;
        if answered && self.rng.u8(..ANSWERED_AGAIN) == 0 {
            self.answer(hold, other, 1 - first).await;
        }
        answered
    }

    /// True if it is known to be answered now.
    async fn answer(&self, hold: &Value, request: Value, who: usize) -> bool {
        let person: &Client = &self.world.people[who];
        let id = hold["id"].as_str().unwrap_or_default().to_owned();
        let shown = hold["subject"]["input"].clone();
        let ran_before = self.world.runs_of(&self.id, &shown);
        let (outcome, _) = person.post(&format!("/v1/holds/{id}/decision"), &request).await;
        let answered = outcome != Outcome::Unknown;
        let by = person.name.to_owned();
        let execution = self.id.clone();
        let answer = Answered { execution, hold: id, by, request, shown, ran_before, outcome };
        self.world.records().answers.push(answer);
        answered
    }

    async fn message(&mut self) {
        self.think().await;
        let mode = if self.rng.bool() { "steer" } else { "queue" };
        let text = format!("message {}", word(&mut self.rng));
        let path = format!("/v1/executions/{}/messages", self.id);
        let (outcome, _) = self.world.people[0].post(&path, &json!({"text": text, "mode": mode})).await;
        self.messages -= 1;
        self.world.records().said.push(Said { execution: self.id.clone(), text, outcome });
    }

    async fn command(&self, command: &str) -> Outcome {
        self.world.people[0].post(&format!("/v1/executions/{}/{command}", self.id), &json!({})).await.0
    }

    /// People take their time: none, a moment, or long enough for the session to be parked.
    async fn think(&mut self) {
        let pause_ms = match self.rng.u8(..100) {
            0..45 => self.rng.u64(..40),
            45..80 => self.rng.u64(..500),
            _ => self.rng.u64(500..2_500),
        };
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_played_and_the_seed_chooses_the_order() {
        let names = |seed| (0..PLAYS.len()).map(|number| play(number, seed).name).collect::<Vec<_>>();
        let mut sorted = names(1);
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), PLAYS.len());
        assert_eq!(names(1), names(1));
        assert_ne!(names(1), names(2));
    }
}
