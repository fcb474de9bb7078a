//! A client with the habits of Kodosumi's own: the header, the cookie, strings for everything.

use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use holdpoint_tests::{PATIENCE, Server};
use reqwest::{Method, RequestBuilder, header::HeaderMap};
use serde_json::{Value, json};

/// Somebody's password, of any length that is taken.
pub(crate) const PASSWORD: &str = "a long enough password";

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    /// The body as JSON; null if it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The same, if it has this status.
    pub(crate) fn expect(self, status: u16) -> Result<Self> {
        ensure!(self.status == status, "{} instead of {status}: {}", self.status, self.text);
        Ok(self)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    pub(crate) url: String,
    pub(crate) key: String,
}

impl Client {
    /// With this `KODOSUMI_API_KEY`; an empty one is not sent.
    pub(crate) fn new(server: &Server, key: &str) -> Result<Self> {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
        Ok(Self { http, url: server.url.clone(), key: key.to_owned() })
    }

    /// Somebody new, logged in with name and password.
    pub(crate) async fn of_somebody(server: &Server, name: &str, operator: bool) -> Result<Self> {
        let admin = Self::new(server, &server.token)?;
        let role =
            json!({"name": name, "email": "x@example.com", "password": PASSWORD, "operator": operator});
        admin.post("/role", role).await?.expect(201)?;
        let nobody = Self::new(server, "")?;
        let login =
            nobody.post("/api/login", json!({"name": name, "password": PASSWORD})).await?.expect(200)?;
        Self::new(server, login.json()["KODOSUMI_API_KEY"].as_str().context("a key")?)
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        if self.key.is_empty() { request } else { request.header("KODOSUMI_API_KEY", &self.key) }
    }

    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Answer> {
        Self::answer(request.send().await?).await
    }

    async fn answer(response: reqwest::Response) -> Result<Answer> {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Answer { status, headers, text: response.text().await? })
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Answer> {
        self.send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Result<Answer> {
        self.send(self.request(Method::POST, path).json(&body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Result<Answer> {
        self.send(self.request(Method::DELETE, path)).await
    }

    /// A form, as `curl -d` sends it.
    pub(crate) async fn form(&self, path: &str, body: &str) -> Result<Answer> {
        let request =
            self.request(Method::POST, path).header("content-type", "application/x-www-form-urlencoded");
        self.send(request.body(body.to_owned())).await
    }

    /// One piece of a file.
    pub(crate) async fn chunk(&self, upload: &str, number: u32, bytes: &[u8]) -> Result<Answer> {
        let mut tries = 0;
        loop {
            let form = reqwest::multipart::Form::new()
                .text("upload_id", upload.to_owned())
                .text("chunk_number", number.to_string())
                .part("chunk", reqwest::multipart::Part::bytes(bytes.to_vec()).file_name("blob"));
            match self.request(Method::POST, "/files/chunk").multipart(form).send().await {
                Ok(response) => return Self::answer(response).await,
                // Who is refused in the middle of a body may be writing still when the connection closes, and this
                // client then has no eye for the answer that came.
                Err(error) if error.is_request() && tries < 5 => tries += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Uploads a file in pieces, the last one first: the value of a form's field for it.
    pub(crate) async fn upload(&self, name: &str, pieces: &[&[u8]]) -> Result<(String, String)> {
        let batch = self.post("/files/init_batch", json!({})).await?.expect(201)?.json()["batch_id"].clone();
        let new = json!({"filename": name, "total_chunks": pieces.len(), "batch_id": batch});
        let upload = self.post("/files/init", new).await?.expect(201)?.json()["upload_id"].clone();
        let upload = upload.as_str().context("an id")?;
        for (number, piece) in (0..).zip(pieces).collect::<Vec<_>>().into_iter().rev() {
            self.chunk(upload, number, piece).await?.expect(201)?;
        }
        let items = json!({upload: {"filename": name, "totalChunks": pieces.len()}});
        let value = json!({"batchId": batch, "name": "files", "items": items}).to_string();
        Ok((batch.as_str().context("an id")?.to_owned(), value))
    }

    /// Starts an agent.
    pub(crate) async fn launch(&self, agent: &str, fields: Value) -> Result<String> {
        let flows = self.get("/flow").await?.expect(200)?.json();
        let end = format!("/{agent}");
        let urls = flows["items"].as_array().into_iter().flatten().filter_map(|flow| flow["url"].as_str());
        let url = urls.into_iter().find(|url| url.ends_with(&end)).context("the flow")?.to_owned();
        let launched = self.post(&url, fields).await?.expect(200)?.json();
        launched["result"].as_str().map(str::to_owned).with_context(|| launched.to_string())
    }

    /// Waits until the status has this to say.
    pub(crate) async fn until(&self, fid: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Result<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.get(&format!("/outputs/status/{fid}")).await?.expect(200)?.json();
            if holds(&status) {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("waited for {what}: {status:#}");
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// Waits for a lock that is not among `seen`.
    pub(crate) async fn lock(&self, fid: &str, seen: &mut Vec<String>) -> Result<String> {
        let new = |status: &Value, seen: &[String]| {
            let locks = status["locks"].as_array().into_iter().flatten().filter_map(Value::as_str);
            locks.map(str::to_owned).find(|lock| !seen.contains(lock))
        };
        let status = self.until(fid, "a lock", |status| new(status, seen).is_some()).await?;
        let lock = new(&status, seen).context("a lock")?;
        seen.push(lock.clone());
        Ok(format!("/lock/{fid}/{lock}"))
    }
}
