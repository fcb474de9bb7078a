//! A real browser: Debian's headless Chromium, driven through its own driver.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use fantoccini::{Client, ClientBuilder, Locator, elements::Element};
use serde_json::json;
use tempfile::TempDir;

use crate::{PATIENCE, free_port};

/// How often to look.
const LOOK_EVERY: Duration = Duration::from_millis(30);

/// A browser window. Ends with its driver.
#[derive(Debug)]
pub struct Browser {
    /// The WebDriver client.
    pub client: Client,
    driver: Child,
    profile: TempDir,
    shots: PathBuf,
}

impl Browser {
    /// Opens a window of this size.
    ///
    /// # Errors
    /// When Chromium or its driver is not installed, or does not come up.
    pub async fn open(width: u32, height: u32, dark: bool) -> Result<Self> {
        let port = free_port()?;
        let profile = tempfile::Builder::new().prefix("holdpoint-browser-").tempdir()?;
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("failed to start chromedriver: run `cargo xtask test`, which installs it")?;
        let mut args = vec![
            "--headless=new".to_owned(),
            "--no-sandbox".into(),
            "--disable-gpu".into(),
            "--disable-quic".into(),
            "--no-first-run".into(),
            "--disable-dev-shm-usage".into(),
            "--disable-background-networking".into(),
            "--disable-component-update".into(),
            "--disable-sync".into(),
            "--hide-scrollbars".into(),
            format!("--user-data-dir={}", profile.path().display()),
            format!("--window-size={width},{height}"),
        ];
        if dark {
            args.push("--blink-settings=preferredColorScheme=0".into());
        }
        let mut capabilities = serde_json::Map::new();
        capabilities.insert("goog:chromeOptions".into(), json!({ "args": args }));
        let deadline = Instant::now() + PATIENCE;
        let url = format!("http://127.0.0.1:{port}");
        let client = loop {
            match ClientBuilder::new(fantoccini_connector())
                .capabilities(capabilities.clone())
                .connect(&url)
                .await
            {
                Ok(client) => break client,
                Err(error) if Instant::now() > deadline => bail!("the browser does not come up: {error}"),
                Err(_) => tokio::time::sleep(LOOK_EVERY).await,
            }
        };
        client.set_window_size(width, height).await?;
        let shots = std::env::current_exe()?.ancestors().nth(3).unwrap_or(Path::new(".")).join("screenshots");
        std::fs::create_dir_all(&shots)?;
        Ok(Self { client, driver, profile, shots })
    }

    /// Fills in the page of the first link, which makes the first admin.
    ///
    /// # Errors
    /// When it is not that page, or does not lead on.
    pub async fn welcome(&self) -> Result<()> {
        self.fill("form#welcome [name=name]", "grace").await?;
        self.fill("form#welcome [name=password]", "a long enough password").await?;
        self.fill("form#welcome [name=again]", "a long enough password").await?;
        self.click("form#welcome button[type=submit]").await?;
        self.see("body[data-page=home]").await?;
        Ok(())
    }

    /// Waits for an element that is shown.
    ///
    /// # Errors
    /// When it does not come; with what the page says and a screenshot.
    pub async fn see(&self, css: &str) -> Result<Element> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            for element in self.client.find_all(Locator::Css(css)).await? {
                if element.is_displayed().await.unwrap_or(false) {
                    return Ok(element);
                }
            }
            if Instant::now() > deadline {
                let shot = self.shot("failed").await?;
                let text = self.client.find(Locator::Css("body")).await?.text().await?;
                bail!(
                    "{css} is not shown at {}; the page says:\n{text}\n{}",
                    self.client.current_url().await?,
                    shot.display()
                );
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until the page shows a text.
    ///
    /// # Errors
    /// When it does not come.
    pub async fn read(&self, wanted: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = self.client.find(Locator::Css("body")).await?.text().await.unwrap_or_default();
            if text.contains(wanted) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let shot = self.shot("failed").await?;
                bail!("{wanted:?} is not on the page:\n{text}\n{}", shot.display());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Clicks what is shown.
    ///
    /// # Errors
    /// When it does not come or cannot be clicked.
    pub async fn click(&self, css: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // A live page may replace an element between look and click: then the new one is meant.
            let element = self.see(css).await?;
            // As a person would: first bring it to where nothing lies over it.
            let middle = "arguments[0].scrollIntoView({block: 'center'})";
            let _ = self.client.execute(middle, vec![serde_json::to_value(&element)?]).await;
            match element.click().await {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() > deadline => return Err(error).context(css.to_owned()),
                Err(_) => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    }

    /// Fills a field, in place of what is in it.
    ///
    /// # Errors
    /// When it does not come.
    pub async fn fill(&self, css: &str, text: &str) -> Result<()> {
        let field = self.see(css).await?;
        field.clear().await?;
        field.send_keys(text).await?;
        Ok(())
    }

    /// Keeps a picture of the page, for people.
    ///
    /// # Errors
    /// When it cannot be taken or written.
    pub async fn shot(&self, name: &str) -> Result<PathBuf> {
        let path = self.shots.join(format!("{name}.png"));
        std::fs::write(&path, self.client.screenshot().await?)?;
        Ok(path)
    }

    /// Closes the window.
    ///
    /// # Errors
    /// When the driver does not answer.
    pub async fn close(self) -> Result<()> {
        self.client.clone().close().await?;
        Ok(())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends its browser when it is told to end politely; what is left of it is known
        // by its profile folder.
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        let profile = self.profile.path().display().to_string();
        let _ = Command::new("pkill").args(["-9", "-f", &profile]).status();
    }
}

fn fantoccini_connector() -> hyper_util::client::legacy::connect::HttpConnector {
    hyper_util::client::legacy::connect::HttpConnector::new()
}
