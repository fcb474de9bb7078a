//! What a checkpoint costs beside `cp -r` and `sync` of the same folder, as a Markdown table.
//!
//! `cargo run --release -p holdpoint-checkpoint --example checkpoints [-- FOLDER]`
//!
//! Everything is in one folder, on one disk, in one run; each figure is the median of some rounds.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant, SystemTime},
};

use holdpoint_checkpoint::{Checkpoints, Facts, Manifest, Matching, Taken, Tree};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const ROUNDS: u64 = 5;

/// Half of a content is noise, half of it repeats: it compresses about as source code does.
struct Noise(u64);

impl Noise {
    fn content(&mut self, len: usize) -> Vec<u8> {
        let mut content = Vec::with_capacity(len + 16);
        while content.len() < len {
            // SplitMix64.
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = self.0;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            content.extend((mixed ^ (mixed >> 31)).to_le_bytes());
            content.extend(b"    let ");
        }
        content.truncate(len);
        content
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let folder = match std::env::args_os().nth(1) {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    println!("| workspace | step | median | of it written | beside it |");
    println!("| --- | --- | ---: | ---: | ---: |");
    // Ten kilobytes each.
    let small = vec![(100, 10_000)];
    // Sources, some data, and a few large files.
    let mixed = vec![(2_000, 10_000), (40, 500_000), (12, 5_000_000)];
    measure(folder.path(), "1 MB, 100 files", &small).await?;
    measure(folder.path(), "100 MB, 2 052 files", &mixed).await?;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).map_or("unknown", str::trim);
    println!("\nPeak memory of this process: {peak}.");
    Ok(())
}

async fn measure(root: &Path, what: &str, sizes: &[(usize, usize)]) -> Result<(), Failure> {
    let mut first = Figures::default();
    let (mut unchanged, mut changed, mut restored, mut matched) =
        (Figures::default(), Figures::default(), Figures::default(), Figures::default());
    let (mut copied, mut copied_back) = (Figures::default(), Figures::default());
    for round in 0..ROUNDS {
        // New content each round, so that nothing is stored already. Nothing is removed before the end:
        // some file systems are slow to make files just after many were removed.
        let dir = tempfile::tempdir_in(root)?.keep();
        let (workspace, to) = (dir.join("workspace"), dir.join("to"));
        fill(&workspace, sizes, round)?;
        sync()?;
        let store = Checkpoints::local(&dir.join("store"))?;

        let copy = dir.join("copy");
        copied.add(copy_and_sync(&workspace, &copy)?, 0);
        let taken = take(&store, &workspace, 1).await?;
        first.add(taken.elapsed, taken.bytes_written + taken.manifest_bytes);
        let taken = take(&store, &workspace, 2).await?;
        unchanged.add(taken.elapsed, taken.bytes_written + taken.manifest_bytes);
        fs::write(workspace.join("0/7"), Noise(round + 1_000).content(10_000))?;
        let taken = take(&store, &workspace, 3).await?;
        changed.add(taken.elapsed, taken.bytes_written + taken.manifest_bytes);

        let begun = Instant::now();
        let same = store.matches(&taken.manifest, &[("workspace", &workspace)]).await?;
        matched.add(begun.elapsed(), 0);
        assert_eq!(same, Matching::Same);

        sync()?;
        restored.add(restore(&store, &taken.manifest, &to).await?, taken.manifest.bytes());
        copied_back.add(copy_and_sync(&copy, &dir.join("back"))?, 0);
    }
    let bare = format!("{} `cp -r` + `sync`", copied.median());
    for (step, figures, beside) in [
        ("take, first", &first, bare),
        ("take, unchanged", &unchanged, String::new()),
        ("take, one file changed", &changed, String::new()),
        ("matches", &matched, String::new()),
        ("restore", &restored, format!("{} `cp -r` + `sync`", copied_back.median())),
    ] {
        println!("| {what} | {step} | {} | {} | {beside} |", figures.median(), figures.written());
    }
    Ok(())
}

#[derive(Default)]
struct Figures(Vec<(Duration, u64)>);

impl Figures {
    fn add(&mut self, elapsed: Duration, bytes: u64) {
        self.0.push((elapsed, bytes));
    }

    fn median(&self) -> String {
        let mut all: Vec<Duration> = self.0.iter().map(|(elapsed, _)| *elapsed).collect();
        all.sort();
        format!("{:.1} ms", all[all.len() / 2].as_secs_f64() * 1e3)
    }

    fn written(&self) -> String {
        match self.0.last() {
            Some((_, bytes)) if *bytes > 0 => format!("{:.2} MB", *bytes as f64 / 1e6),
            _ => "–".to_owned(),
        }
    }
}

fn fill(root: &Path, sizes: &[(usize, usize)], round: u64) -> Result<(), Failure> {
    for (kind, (count, len)) in sizes.iter().enumerate() {
        for n in 0..*count {
            // A hundred files in a folder.
            let path: PathBuf = root.join(format!("{}/{n}", kind * 1_000 + n / 100));
            fs::create_dir_all(path.parent().unwrap_or(root))?;
            fs::write(path, Noise(round << 40 | (kind as u64) << 32 | n as u64).content(*len))?;
        }
    }
    Ok(())
}

async fn take(store: &Checkpoints, workspace: &Path, seq: u64) -> Result<Taken, Failure> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let facts = Facts {
        execution: "bench".into(),
        incarnation: 1,
        seq,
        transcript: None,
        label: "hold".into(),
        // As if it had rested for a while, as it has at a hold that waits for a person.
        at_ms: u64::try_from(now.as_millis())? + 60_000,
    };
    Ok(store.take(&[Tree { name: "workspace", path: workspace, exclude: &[] }], facts).await?)
}

async fn restore(store: &Checkpoints, manifest: &Manifest, to: &Path) -> Result<Duration, Failure> {
    Ok(store.restore(manifest, &[("workspace", to)]).await?.elapsed)
}

fn copy_and_sync(from: &Path, to: &Path) -> Result<Duration, Failure> {
    let begun = Instant::now();
    let done = Command::new("cp").arg("-r").arg(from).arg(to).status()?;
    assert!(done.success(), "cp ended with {done}");
    sync()?;
    Ok(begun.elapsed())
}

fn sync() -> Result<(), Failure> {
    let done = Command::new("sync").status()?;
    assert!(done.success(), "sync ended with {done}");
    Ok(())
}
