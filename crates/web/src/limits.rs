//! Every bound on what a client may send or hold open, with its reason.

/// A JSON body without files: the longest message (1 MiB) with every character escaped still fits.
pub const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;

/// A body with files: the attachments of one message in base64, and the message.
pub const MAX_UPLOAD_BYTES: usize = 48 * 1024 * 1024;

/// A form of somebody who has not signed in: a name, a password, a link's token.
pub const MAX_ANONYMOUS_BYTES: usize = 16 * 1024;

/// All attachments of one message together, decoded. They pass through memory once.
pub const MAX_ATTACHMENTS_BYTES: usize = 32 * 1024 * 1024;

/// Files of one message: a folder full of them belongs into an archive.
pub const MAX_ATTACHMENTS: usize = 50;

/// Files that a conversation may start with, uploaded ones included: the first message names each.
pub const MAX_START_FILES: usize = 500;

/// Fields of one HTML form; far above any agent's entry form, with a field for each upload.
pub const MAX_FORM_FIELDS: usize = 1_000;

/// Rows of a list page where a client names no number.
pub const DEFAULT_PAGE: u32 = 50;

/// Rows of a list page at most.
pub const MAX_PAGE: u32 = 200;

/// Characters of a search: far more than are looked for.
pub const MAX_SEARCH_CHARS: usize = 1_000;

/// Days of an analytics page at most: three years.
pub const ANALYTICS_DAYS: i64 = 1_100;

/// Events read from the log at once: bounds the memory of one reader, not what it gets.
pub const EVENTS_PAGE: u32 = 200;

/// After a look into the log, which is for all who follow it, so long for each follower of any log passes before the
/// next one: however many there are and however much happens, about five thousand pieces a second are sent to all of
/// them together, and no one of two hundred is much more than 40 ms behind. Microseconds.
pub const LOOK_SHARE_US: u64 = 200;

/// Events kept in memory of each log that is followed: some seconds of a busy conversation. Who is further behind reads
/// the log.
pub const TAIL_EVENTS: usize = 512;

/// The same, in bytes as they are sent.
pub const TAIL_BYTES: usize = 256 * 1024;

/// A log that is followed is looked into this often although nobody hinted at anything, so that a lost hint
/// delays an event and never hides it. Milliseconds.
pub const POLL_MS: u64 = 5_000;

/// Model calls in a page: each comes with its whole response.
pub const CALLS_PAGE: u32 = 20;

/// A comment on an idle stream, so that proxies keep it open and dead clients are noticed. Seconds.
pub const KEEP_ALIVE_S: u64 = 15;

/// After the last event of an execution its worker still says goodbye; a stream waits this long
/// for that before it ends. Milliseconds.
pub const END_GRACE_MS: u64 = 5_000;

/// Events of a conversation on a page, the newest at first; earlier ones are one click away. Rendering the text of
/// each takes some fifty microseconds.
pub const CONVERSATION_EVENTS: u64 = 300;

/// Parts of a conversation that a step of its replay shows: a step is looked at for a moment.
pub const REPLAY_PARTS: usize = 40;

/// Events on a page of a conversation's log.
pub const EVENTS_SHOWN: u32 = 100;

/// A session of the panel ends this long after it was last renewed. Milliseconds.
pub const SESSION_MS: i64 = 30 * 24 * 3600 * 1000;

/// The shortest password taken, in characters.
pub const MIN_PASSWORD_CHARS: usize = 10;

/// The longest password taken, in bytes: hashing must not become a way to keep us busy.
pub const MAX_PASSWORD_BYTES: usize = 1024;

/// Failed sign-ins for one name from one address before a pause.
pub const SIGN_IN_TRIES: u32 = 5;

/// Failed sign-ins from one address, whatever the names, before a pause. Generous: a whole office
/// or everybody behind a proxy may share one.
pub const SIGN_IN_ADDRESS_TRIES: u32 = 60;

/// How long a pause is. Short: behind a proxy all share one address, and whoever guesses at a name
/// there keeps its owner out for no longer than this. Milliseconds.
pub const SIGN_IN_PAUSE_MS: i64 = 60 * 1000;

/// How long failures are remembered after the last one. Milliseconds.
pub const SIGN_IN_WINDOW_MS: i64 = 15 * 60 * 1000;

/// Names and addresses remembered; the oldest goes first, so that guessing many names cannot
/// fill the memory.
pub const SIGN_IN_ENTRIES: usize = 10_000;

/// Characters of a name that failures are remembered by; no user's name is longer.
pub const SIGN_IN_NAME_CHARS: usize = 100;

/// Passwords hashed at once: each takes 19 MiB and a core for a moment.
pub const HASHES_AT_ONCE: usize = 2;

/// The longest `Idempotency-Key`, in bytes.
pub const MAX_IDEMPOTENCY_KEY_BYTES: usize = 200;

/// What a command beside a session may write, in bytes: a look at something, no transfer of files.
pub const EXEC_OUTPUT_BYTES: usize = 16 * 1024 * 1024;

/// How long a command beside a session may run. Seconds.
pub const EXEC_S: u64 = 600;

/// What a command that a page shows may write, in bytes.
pub const PAGE_EXEC_OUTPUT_BYTES: usize = 256 * 1024;

/// How long a command may run whose page somebody waits for. Seconds.
pub const PAGE_EXEC_S: u64 = 20;

/// How long a page waits for an engine to say how a session is doing. Milliseconds.
pub const LOOK_MS: u64 = 2_000;

/// Lines of a log where a client names no number.
pub const LOG_LINES: usize = 500;

/// Lines of a log at most.
pub const MAX_LOG_LINES: usize = 20_000;

/// How often whoever holds a stream open is looked at again, beside whenever something was changed: tokens and
/// sessions end by themselves. Milliseconds.
pub const ACCESS_POLL_MS: u64 = 30_000;

/// How often it is noted that a token or session is used: a write for every request would be a waste.
/// Milliseconds.
pub const USED_EVERY_MS: i64 = 5 * 60 * 1000;

/// Characters of what a browser says that it is.
pub const BROWSER_CHARS: usize = 300;

/// How long a token is good where nothing is said. Milliseconds.
pub const TOKEN_MS: i64 = 90 * 24 * 3600 * 1000;

/// How long a link that lets somebody in can be used. Milliseconds.
pub const LINK_MS: i64 = 24 * 3600 * 1000;

/// A hold that ends within so much is nearly due: it is not hidden from anybody's inbox any more. Milliseconds.
pub const NEARLY_DUE_MS: i64 = 3600 * 1000;

/// How long a hold can be hidden from one's own inbox at most. Milliseconds.
pub const MAX_SNOOZE_MS: i64 = 30 * 24 * 3600 * 1000;

/// Holds that are looked at for something new, which a browser then tells.
pub const NEWS: u32 = 20;

/// Names that are offered to choose from.
pub const NAMES: usize = 200;

/// Files of one conversation on the page of all.
pub const FILES_SHOWN: usize = 60;

/// The longest name of a user or a token, in characters.
pub const MAX_NAME_CHARS: usize = 60;

/// Failed sign-ins that the audit log takes in a minute: it is never shortened, and anybody can fail. The
/// server's log has all of them.
pub const AUDITED_FAILURES: u32 = 60;

/// A release's lock as JSON, in bytes: some plugins and repositories, each by its commit. Lists of releases carry
/// all of theirs.
pub const MAX_LOCK_BYTES: usize = 64 * 1024;

/// Characters of an image's id, and of where it was pushed to.
pub const MAX_IMAGE_CHARS: usize = 1_000;

/// Characters of why a release failed that are kept: the log of its build is with whoever built it.
pub const WHY_FAILED_CHARS: usize = 4_000;

/// Characters of a command in the audit log; the conversation's own log has all of it.
pub const AUDITED_COMMAND_CHARS: usize = 500;
