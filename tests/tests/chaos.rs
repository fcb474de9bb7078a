//! A short chaos run: every kind of conversation and of kill, by a fixed seed. `cargo xtask chaos` is the
//! long one.

use holdpoint_tests::{
    chaos::{self, Options},
    podman::{Kind, Podman},
};

#[tokio::test]
async fn a_short_run_breaks_nothing() -> anyhow::Result<()> {
    runs_clean(20_260_101, 12, 25, None).await
}

#[tokio::test]
async fn a_short_run_in_containers_breaks_nothing() -> anyhow::Result<()> {
    runs_clean(20_260_102, 6, 12, Some(Podman::ready(Kind::Rootful)?)).await
}

async fn runs_clean(
    seed: u64,
    conversations: usize,
    kills: usize,
    podman: Option<Podman>,
) -> anyhow::Result<()> {
    let options = Options {
        seed,
        conversations,
        kills,
        at_once: 4,
        patience_s: 150,
        podman,
        disk: None,
        keep: None,
        progress: false,
    };
    let report = chaos::run(options).await?;
    assert!(report.is_clean(), "\n{report}\n{}", report.details());
    assert!(report.kills() >= kills, "{report}");
    println!("{report}");
    Ok(())
}
