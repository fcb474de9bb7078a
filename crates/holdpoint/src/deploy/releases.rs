//! Releases as the API has them.

use holdpoint_model::{
    Lock, ReleaseNumber, ReleaseState,
    lock::{Change, ImageLock},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{client::Api, failure::Failure};

/// A release.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Release {
    /// Its number.
    pub number: ReleaseNumber,
    /// Where it is on its way.
    pub state: ReleaseState,
    /// What it is made of.
    pub lock: Lock,
    /// When it was begun.
    pub created_at: String,
    /// When it last became current.
    #[serde(default)]
    pub activated_at: Option<String>,
    /// Who began it.
    #[serde(default)]
    pub by: Value,
    /// Conversations on it that go on.
    #[serde(default)]
    pub going_on: u64,
    /// Why it failed.
    #[serde(default)]
    pub problem: Option<String>,
    /// What differs from the one before it.
    #[serde(default)]
    pub changes: Vec<Change>,
}

/// How trying a release out goes.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Verification {
    /// `running`, `passed` or `failed`.
    pub(super) state: String,
    /// The conversation.
    pub(super) execution: String,
    /// Why it failed.
    #[serde(default)]
    pub(super) why: Option<String>,
}

impl Release {
    /// New conversations run on it.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.state == ReleaseState::Current
    }

    /// It is not finished.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        self.state == ReleaseState::Building
    }

    /// Of an answer.
    fn parse(value: Value) -> Result<Self, Failure> {
        serde_json::from_value(value).map_err(|error| {
            Failure::new(
                "the control plane says something of a release that this program does not understand",
            )
            .why(error)
            .next("holdpoint status     (it may be of another version)")
        })
    }

    /// All that are listed, newest first.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn all(api: &Api) -> anyhow::Result<Vec<Self>> {
        let mut page = api.get("/v1/releases").await?;
        let items = page["items"].take();
        let items = items.as_array().cloned().unwrap_or_default();
        Ok(items.into_iter().map(Self::parse).collect::<Result<_, _>>()?)
    }

    /// One.
    ///
    /// # Errors
    /// When there is none, or it cannot be asked.
    pub async fn one(api: &Api, number: ReleaseNumber) -> anyhow::Result<Self> {
        Ok(Self::parse(api.get(&format!("/v1/releases/{number}")).await?)?)
    }

    pub(super) async fn begin(api: &Api, lock: &Lock) -> anyhow::Result<Self> {
        Ok(Self::parse(api.post("/v1/releases", &json!({ "lock": lock })).await?)?)
    }

    pub(super) async fn image(&self, api: &Api, image: &ImageLock) -> anyhow::Result<Self> {
        self.post(api, "image", &json!(image)).await
    }

    pub(super) async fn verify(&self, api: &Api) -> anyhow::Result<Verification> {
        let answer = api.post(&format!("/v1/releases/{}/verify", self.number), &json!({})).await?;
        Ok(serde_json::from_value(answer)?)
    }

    pub(super) async fn activate(&self, api: &Api) -> anyhow::Result<Self> {
        self.post(api, "activate", &json!({})).await
    }

    pub(super) async fn fail(&self, api: &Api, why: &str) -> anyhow::Result<Self> {
        self.post(api, "fail", &json!({ "why": why })).await
    }

    pub(super) async fn remove(&self, api: &Api) -> anyhow::Result<Self> {
        self.post(api, "remove", &json!({})).await
    }

    async fn post(&self, api: &Api, what: &str, body: &Value) -> anyhow::Result<Self> {
        Ok(Self::parse(api.post(&format!("/v1/releases/{}/{what}", self.number), body).await?)?)
    }
}
