//! The command line. One command, one file.

mod answer;
mod api;
mod ask;
mod attach;
mod audit;
mod backup;
mod cassette;
mod claude_cli;
mod completion;
mod config;
mod context;
mod converse;
mod deploy;
mod doctor;
mod down;
mod edit;
mod exec;
mod executions;
mod export;
mod files;
mod fork;
mod image;
mod import;
mod inbox;
mod inspect;
mod logs;
mod message;
mod notify;
mod ps;
mod rehearse;
mod releases;
mod restore;
mod retention;
mod status;
mod table;
#[cfg(test)]
mod tests;
mod token;
mod up;
mod user;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use secrecy::SecretString;

use crate::{env::Environment, failure::EXIT_CODES};

pub use context::Context;

/// Human-in-the-loop Claude agents: durable sessions that hold for a person.
#[derive(Debug, Parser)]
#[command(name = "holdpoint", version, propagate_version = true, after_help = EXIT_CODES, max_term_width = 110)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// What all commands take.
    #[command(flatten)]
    pub global: Global,
}

/// What all commands take.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// The data folder [default: ~/.local/share/holdpoint, or holdpoint in $XDG_DATA_HOME]
    #[arg(long, global = true, env = "HOLDPOINT_DATA", value_name = "DIR", help_heading = "Everywhere")]
    pub data: Option<PathBuf>,
    /// The configuration [default: ./holdpoint.toml, then holdpoint.toml in the data folder]
    #[arg(long, global = true, env = "HOLDPOINT_CONFIG", value_name = "FILE", help_heading = "Everywhere")]
    pub config: Option<PathBuf>,
    /// Another control plane than the one of the data folder
    #[arg(long, global = true, env = "HOLDPOINT_URL", value_name = "URL", help_heading = "Everywhere")]
    pub url: Option<String>,
    /// The token to sign in with at --url
    #[arg(
        long,
        global = true,
        env = "HOLDPOINT_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN",
        help_heading = "Everywhere"
    )]
    pub token: Option<SecretString>,
    /// Print JSON
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub json: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Set up what is missing and start: panel, API and agents
    Up(up::UpArgs),
    /// Stop the control plane and everything it runs; conversations go on at the next `up`
    Down(down::DownArgs),
    /// Show what runs and what waits
    Status,
    /// Find out what is wrong on this machine, and what to type
    Doctor,
    /// Start a conversation
    Ask(ask::AskArgs),
    /// List what waits for a person
    Inbox(inbox::InboxArgs),
    /// Answer a hold
    Answer(answer::AnswerArgs),
    /// List conversations
    List(executions::ListArgs),
    /// Write to a conversation
    Message(message::MessageArgs),
    /// Go on from an earlier point of a conversation, in a new one
    Fork(fork::ForkArgs),
    /// Stop the present turn of a conversation
    Interrupt(executions::OneArgs),
    /// End a conversation now
    Cancel(executions::OneArgs),
    /// Say that a conversation is done
    Finish(executions::OneArgs),
    /// Show a conversation
    Logs(logs::LogsArgs),
    /// List the sessions that run, with what they use
    Ps,
    /// Show where a conversation's session runs, and what it sees and uses
    Inspect(executions::OneArgs),
    /// Run a command beside a conversation's session
    #[command(after_help = exec::HELP)]
    Exec(exec::ExecArgs),
    /// List the files of a conversation, or fetch one
    Files(files::FilesArgs),
    /// Write a conversation's whole log, one event a line, as JSON
    Export(export::ExportArgs),
    /// Keep a conversation's model traffic in a file, to play it back as a test
    #[command(subcommand)]
    Cassette(cassette::CassetteCommand),
    /// Write a backup of everything, also while it runs; or check one
    Backup(backup::BackupArgs),
    /// Make a data folder of a backup
    Restore(restore::RestoreArgs),
    /// Show what is deleted by rule, delete it now, or show what was deleted
    Retention(retention::RetentionArgs),
    /// Play a conversation that a script answers, or check the script
    Rehearse(rehearse::RehearseArgs),
    /// Make, list and revoke tokens; make sign-in links
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// List, make and change users; let them in no longer
    #[command(subcommand)]
    User(user::UserCommand),
    /// Show what was done about who may do what
    Audit(audit::AuditArgs),
    /// Check the configuration
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Print the description of the API
    #[command(subcommand)]
    Api(api::ApiCommand),
    /// Check that people are told when something waits for them
    #[command(subcommand)]
    Notify(notify::NotifyCommand),
    /// Install or check the Claude CLI
    #[command(subcommand)]
    Cli(claude_cli::CliCommand),
    /// Build the image that sessions run in, or show those that are there
    #[command(subcommand)]
    Image(image::ImageCommand),
    /// Deploy what the configuration and its repositories say now: shows the plan first
    Deploy(deploy::DeployArgs),
    /// Build the image that would be deployed, and deploy nothing
    Build(deploy::BuildArgs),
    /// List releases
    Releases,
    /// Show what differs between two releases
    Diff(releases::DiffArgs),
    /// Make an earlier release current again
    Rollback(releases::RollbackArgs),
    /// Move a conversation to another release
    Move(releases::MoveArgs),
    /// Move over from a checkout of the template for Kodosumi: make holdpoint.toml of it, and say what to look at
    Import(import::ImportArgs),
    /// Print the completion script of a shell
    Completion(completion::CompletionArgs),
    /// Supervise one session; started by the control plane
    #[command(hide = true)]
    Worker(WorkerArgs),
    /// Carry a session's input and output to and from its container; started by a worker
    #[command(hide = true)]
    Bridge(BridgeArgs),
    /// Be the first process of a session's container
    #[command(hide = true)]
    Inside(InsideArgs),
}

/// `holdpoint worker`
#[derive(Debug, Args)]
pub struct WorkerArgs {
    /// The worker's specification
    #[arg(long, value_name = "FILE")]
    pub spec: PathBuf,
}

/// `holdpoint bridge`
#[derive(Debug, Args)]
pub struct BridgeArgs {
    /// The folder for the socket
    #[arg(long, value_name = "DIR")]
    pub folder: PathBuf,
    /// The file for what people should know
    #[arg(long, value_name = "FILE")]
    pub notes: PathBuf,
    /// A folder that must be writable inside
    #[arg(long, value_name = "DIR")]
    pub writable: Vec<String>,
    /// Memory of everything inside, where nobody else bounds it
    #[arg(long, value_name = "BYTES")]
    pub memory_bytes: Option<u64>,
    /// The most processes and threads inside, to be told of where the kernel does not count
    #[arg(long, value_name = "NUMBER")]
    pub processes: Option<u32>,
    /// The folder with the gateway's socket, where the container does not see it
    #[arg(long, value_name = "DIR")]
    pub gateway: Option<PathBuf>,
    /// The program inside, and its arguments
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    pub program: Vec<String>,
}

/// `holdpoint inside`
#[derive(Debug, Args)]
pub struct InsideArgs {
    /// Let only the program itself through to the gateway
    #[arg(long)]
    pub cli_alone: bool,
    /// The longest file that anything inside may write
    #[arg(long, value_name = "BYTES")]
    pub file_bytes: u64,
    /// Files that one process may have open
    #[arg(long, value_name = "COUNT")]
    pub open_files: u64,
    /// Processes and threads that the user inside may have
    #[arg(long, value_name = "COUNT")]
    pub user_processes: Option<u64>,
}

/// Carries out a command, other than `worker` and those beside a session, which have a runtime of their own.
///
/// # Errors
/// What failed, why, and what to type next.
pub async fn run(cli: Cli, environment: Environment) -> anyhow::Result<()> {
    if matches!(cli.command, Command::Doctor) {
        // Before anything that may be what is wrong.
        return doctor::run(cli.global, environment).await;
    }
    let context = Context::new(cli.global, environment)?;
    let context = &context;
    match cli.command {
        Command::Up(args) => up::run(args, context).await,
        Command::Down(args) => down::run(args, context).await,
        Command::Status => status::run(context).await,
        Command::Ask(args) => ask::run(args, context).await,
        Command::Inbox(args) => inbox::run(args, context).await,
        Command::Answer(args) => answer::run(args, context).await,
        Command::List(args) => executions::list(args, context).await,
        Command::Message(args) => message::run(args, context).await,
        Command::Fork(args) => fork::run(args, context).await,
        Command::Interrupt(args) => executions::act(args, "interrupt", context).await,
        Command::Cancel(args) => executions::act(args, "cancel", context).await,
        Command::Finish(args) => executions::act(args, "finish", context).await,
        Command::Logs(args) => logs::run(args, context).await,
        Command::Ps => ps::run(context).await,
        Command::Inspect(args) => inspect::run(args, context).await,
        Command::Exec(args) => exec::run(args, context).await,
        Command::Files(args) => files::run(args, context).await,
        Command::Export(args) => export::run(args, context).await,
        Command::Cassette(command) => cassette::run(command, context).await,
        Command::Backup(args) => backup::run(args, context).await,
        Command::Restore(args) => restore::run(args, context).await,
        Command::Retention(args) => retention::run(args, context).await,
        Command::Rehearse(args) => rehearse::run(args, context).await,
        Command::Token(command) => token::run(command, context).await,
        Command::User(command) => user::run(command, context).await,
        Command::Audit(args) => audit::run(args, context).await,
        Command::Config(command) => config::run(&command, context),
        Command::Api(command) => api::run(&command),
        Command::Notify(command) => notify::run(command, context).await,
        Command::Cli(command) => claude_cli::run(command, context).await,
        Command::Image(command) => image::run(command, context).await,
        Command::Deploy(args) => deploy::run(args, context).await,
        Command::Build(args) => deploy::image(args, context).await,
        Command::Releases => releases::list(context).await,
        Command::Diff(args) => releases::diff(args, context).await,
        Command::Rollback(args) => releases::rollback(args, context).await,
        Command::Move(args) => releases::move_one(args, context).await,
        Command::Import(args) => import::run(&args, context),
        Command::Completion(args) => completion::run(&args),
        Command::Doctor | Command::Worker(_) | Command::Bridge(_) | Command::Inside(_) => {
            unreachable!("`doctor` came before, and main gives the others a runtime of their own")
        }
    }
}
