//! `sqlx::migrate!` embeds the folder; cargo has to be told to look at it.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
