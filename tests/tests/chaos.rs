//! A short chaos run: every kind of conversation and of kill, by a fixed seed. `cargo xtask chaos` is the
//! long one.

use holdpoint_tests::chaos::{self, Options};

#[tokio::test]
async fn a_short_run_breaks_nothing() -> anyhow::Result<()> {
    let options = Options {
        seed: 20_260_101,
        conversations: 12,
        kills: 25,
        at_once: 4,
        patience_s: 150,
        disk: None,
        keep: None,
        progress: false,
    };
    let report = chaos::run(options).await?;
    assert!(report.is_clean(), "\n{report}\n{}", report.details());
    assert!(report.kills() >= 25, "{report}");
    println!("{report}");
    Ok(())
}
