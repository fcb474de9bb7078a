//! What every store must do, whatever database is behind it.
//!
//! One module a subject. `migrations`, `opening`, `disk` and `small_disk` are about a data file and belong to SQLite
//! alone.

mod access;
mod batches;
mod budget;
mod crash;
mod deadlines;
mod decisions;
mod disk;
mod facts;
mod figures;
mod idempotency;
mod inbox;
mod lists;
mod log;
mod messages;
mod migrations;
mod opening;
mod outbox;
mod people;
mod picture;
mod projections;
mod random;
mod record;
mod releases;
mod retention;
mod search;
mod small_disk;
mod snapshot;
mod support;
mod uploads;
