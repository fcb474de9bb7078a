//! `holdpoint image`: the image that sessions run in.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use holdpoint_claude::probe_version;
use holdpoint_containers::Containers;
use holdpoint_image::{BaseInputs, Found, Image, Progress, Step};
use serde_json::{Value, json};

use crate::{
    bar::Bar,
    cli::{Context, table::Table},
    config::{Config, Overrides},
    containers,
    failure::{Exit, Failure},
    install,
    render::time::bytes,
    term::{self, Term},
};

/// This program as it runs, also where its file was replaced or deleted since.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// Digits of an image's id in tables, without `sha256:`.
const SHORT_ID: usize = 12;

/// Subcommands of `image`.
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Build the base image and load it into the container engine
    Build(BuildArgs),
    /// List the base images that the container engine has
    List,
    /// Show what is in the base image of this Holdpoint, or in another
    Show(ShowArgs),
}

/// Arguments of `image build`.
#[derive(Debug, Args)]
pub struct BuildArgs {
    /// The base image: a small Debian with the Claude CLI and this program
    #[arg(long, required = true)]
    pub base: bool,
    /// Build it of today's packages, rather than of those of the last build
    #[arg(long)]
    pub fresh: bool,
    /// The mirror of Debian [default: `mirror` of [container], else as this machine's apt]
    #[arg(long, value_name = "URL")]
    pub mirror: Option<String>,
    /// Write it to a file for `podman load` or `docker load`, rather than load it
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Arguments of `image show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The image's name or id [default: the base image of this Holdpoint and its Claude CLI]
    pub image: Option<String>,
}

/// Carries it out.
///
/// # Errors
/// What failed, why, and what to type next.
pub(super) async fn run(command: ImageCommand, context: &Context) -> anyhow::Result<()> {
    match command {
        ImageCommand::Build(args) => build(args, context).await,
        ImageCommand::List => list(context).await,
        ImageCommand::Show(args) => show(args, context).await,
    }
}

async fn build(args: BuildArgs, context: &Context) -> anyhow::Result<()> {
    let config = context.config(&Overrides::default())?;
    context.data.create()?;
    // First: nobody wants to wait for an image that nothing can take.
    let engine = match &args.output {
        Some(_) => None,
        None => Some(containers::connect(&config.container, &context.environment).await?),
    };
    let inputs = inputs(&args, &config, context).await?;
    let bars = Arc::new(Bars { term: context.term, shown: Mutex::default() });
    let image = {
        let bars = Arc::clone(&bars);
        tokio::task::spawn_blocking(move || holdpoint_image::build_base(&inputs, &*bars))
            .await?
            .map_err(Failure::from)?
    };
    let image = Arc::new(image);
    let place = match (&engine, args.output) {
        (Some(engine), _) => {
            let was_there =
                holdpoint_image::load(engine, &image, Arc::clone(&bars) as Arc<dyn Progress>).await;
            let was_there = was_there.map_err(Failure::from)?;
            Place::Engine(engine, was_there)
        }
        (None, output) => {
            let file = std::path::absolute(output.unwrap_or_default())?;
            let (image, to) = (Arc::clone(&image), file.clone());
            tokio::task::spawn_blocking(move || write(&image, &to)).await??;
            Place::File(file)
        }
    };
    bars.done();
    if context.json {
        return term::json(&as_json(&image, &place));
    }
    Ok(term::line(&as_text(&image, &place))?)
}

/// Where the image went.
enum Place<'a> {
    /// Into this engine; whether it was there before.
    Engine(&'a Containers, bool),
    /// To this file.
    File(PathBuf),
}

async fn inputs(args: &BuildArgs, config: &Config, context: &Context) -> anyhow::Result<BaseInputs> {
    let environment = &context.environment;
    let cli = install::resolve(&config.claude, &context.data, environment, context.term).await?;
    let cli_version = probe_version(&cli).await?.to_string();
    Ok(BaseInputs {
        cache: context.data.cache_folder(),
        fresh: args.fresh,
        mirror: args.mirror.clone().or_else(|| config.container.mirror.clone()),
        cli,
        cli_version,
        program: OWN_PROGRAM.into(),
        holdpoint_version: env!("CARGO_PKG_VERSION").to_owned(),
        path: environment.path.clone(),
        env: environment.for_images.clone(),
        is_root: rustix::process::geteuid().is_root(),
    })
}

/// Writes it beside its place first: a file that is there is a whole one.
fn write(image: &Image, file: &Path) -> anyhow::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("/"));
    let failed = |error: io::Error| Failure::new(format!("failed to write {}", file.display())).why(error);
    let made = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    image.write_archive(io::BufWriter::new(made.as_file())).map_err(failed)?;
    made.as_file().sync_all().map_err(failed)?;
    made.persist(file).map_err(|error| failed(error.error))?;
    Ok(())
}

fn as_json(image: &Image, place: &Place<'_>) -> Value {
    let layers: Vec<_> = image
        .layers()
        .iter()
        .map(|layer| json!({"what": layer.what, "digest": layer.digest, "bytes": layer.size}))
        .collect();
    let mut value = json!({
        "name": image.name(), "id": image.id(), "digest": image.digest(), "layers": layers,
        "debian_was_kept": image.debian_was_kept(), "manifest": image.manifest(),
    });
    match place {
        Place::Engine(engine, was_there) => {
            value["engine"] = json!({"kind": engine.kind().name(), "version": engine.version()});
            value["was_there"] = json!(was_there);
        }
        Place::File(file) => value["file"] = json!(file),
    }
    value
}

fn as_text(image: &Image, place: &Place<'_>) -> String {
    let manifest = image.manifest();
    let mut text = match place {
        Place::Engine(engine, was_there) => {
            let how = if *was_there { "was in" } else { "is in" };
            format!("{} {how} {} {}", image.name(), engine.kind(), engine.version())
        }
        Place::File(file) => {
            format!("{} is in {1}\n→ podman load -i {1}", image.name(), file.display())
        }
    };
    text.push_str(&format!("\n  id      {}", image.id()));
    let debian = &manifest.debian;
    for layer in image.layers() {
        let what = match layer.what {
            "Debian" => format!(
                "Debian {} of {}, {} packages{}",
                debian.suite,
                debian.snapshot,
                debian.packages.len(),
                if image.debian_was_kept() { ", kept from an earlier build (--fresh: today's)" } else { "" }
            ),
            "Claude CLI" => format!("Claude CLI {}", manifest.cli.version),
            other => format!("{other} {}", manifest.holdpoint.version),
        };
        text.push_str(&format!("\n  layer   {:>10}  {what}", bytes(layer.size)));
    }
    text
}

async fn list(context: &Context) -> anyhow::Result<()> {
    let config = context.config(&Overrides::default())?;
    let engine = containers::connect(&config.container, &context.environment).await?;
    let found = holdpoint_image::list(&engine).await.map_err(Failure::from)?;
    let own = own_sha256().await?;
    let fits = |image: &Found| image.labels.program_sha256 == own;
    if context.json {
        let items: Vec<_> = found
            .iter()
            .map(|image| {
                json!({
                    "id": image.id, "names": image.names, "holdpoint": image.labels.holdpoint,
                    "cli": image.labels.cli, "manifest_sha256": image.labels.manifest_sha256,
                    "program_sha256": image.labels.program_sha256, "bytes": image.size,
                    "is_of_this_program": fits(image),
                })
            })
            .collect();
        return term::json(&json!({"engine": engine.kind().name(), "images": items}));
    }
    if found.is_empty() {
        term::line(&format!("{} has no base image", engine.kind()))?;
        return Ok(term::line("→ holdpoint image build --base")?);
    }
    let mut table = Table::new(&["id", "name", "holdpoint", "cli", "size", ""]);
    for image in &found {
        let id = image.id.trim_start_matches("sha256:").chars().take(SHORT_ID).collect();
        let name = image.names.first().cloned().unwrap_or_else(|| "(none)".into());
        let note = if fits(image) { "of this program" } else { "" };
        let labels = &image.labels;
        table.row([id, name, labels.holdpoint.clone(), labels.cli.clone(), bytes(image.size), note.into()]);
    }
    Ok(term::line(&table.to_string())?)
}

async fn own_sha256() -> anyhow::Result<String> {
    let digest = tokio::task::spawn_blocking(|| holdpoint_image::digest_file(Path::new(OWN_PROGRAM))).await?;
    Ok(digest.context("failed to read this very program")?.sha256)
}

async fn show(args: ShowArgs, context: &Context) -> anyhow::Result<()> {
    let config = context.config(&Overrides::default())?;
    let engine = containers::connect(&config.container, &context.environment).await?;
    let image = args
        .image
        .unwrap_or_else(|| holdpoint_model::image::base_name(env!("CARGO_PKG_VERSION"), install::VERSION));
    let Some(manifest) = holdpoint_image::manifest_in(&engine, &image).await.map_err(Failure::from)? else {
        return Err(Failure::new(format!("{} has no image {image}", engine.kind()))
            .exit(Exit::NotFound)
            .next("holdpoint image list")
            .next("holdpoint image build --base")
            .into());
    };
    if context.json {
        let value: Value = serde_json::from_str(&manifest)?;
        return term::json(&value);
    }
    Ok(term::print(&manifest)?)
}

/// A bar for each step, one after the other.
struct Bars {
    term: Term,
    shown: Mutex<Option<(Step, u64, Bar)>>,
}

impl Bars {
    fn done(&self) {
        if let Some((_, _, bar)) = self.shown.lock().unwrap_or_else(PoisonError::into_inner).take() {
            bar.done();
        }
    }
}

impl Progress for Bars {
    fn step(&self, step: Step, total: u64) {
        self.done();
        let bar = match step {
            Step::Packages => Bar::things(self.term, "installing Debian", total),
            Step::Layers => Bar::things(self.term, "putting together", total),
            Step::Load => Bar::bytes(self.term, "loading", total),
        };
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some((step, total, bar));
    }

    fn at(&self, done: u64) {
        if let Some((_, _, bar)) = &*self.shown.lock().unwrap_or_else(PoisonError::into_inner) {
            bar.set(done);
        }
    }
}
