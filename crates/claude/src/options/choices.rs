//! The closed sets among the options.

use uuid::Uuid;

/// Which conversation a process works on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionChoice {
    /// A new one under this id. The CLI names its transcript by it.
    New(Uuid),
    /// An existing one, under the same id.
    Resume {
        /// The conversation.
        session: Uuid,
        /// Forget everything after this assistant message (its transcript uuid).
        at: Option<Uuid>,
    },
    /// A copy of an existing one. The original stays as it is.
    Fork {
        /// The conversation to copy.
        from: Uuid,
        /// The id of the copy.
        into: Uuid,
        /// Leave out everything after this assistant message (its transcript uuid).
        at: Option<Uuid>,
    },
}

impl SessionChoice {
    /// A new conversation under a random id.
    pub fn new() -> Self {
        Self::New(Uuid::new_v4())
    }

    /// Goes on with a conversation.
    pub fn resume(session: Uuid) -> Self {
        Self::Resume { session, at: None }
    }

    /// Goes on with a copy of a conversation.
    pub fn fork(from: Uuid, into: Uuid) -> Self {
        Self::Fork { from, into, at: None }
    }

    /// The conversation that will be written to.
    pub fn id(&self) -> Uuid {
        match self {
            Self::New(id) | Self::Resume { session: id, .. } | Self::Fork { into: id, .. } => *id,
        }
    }

    /// The conversation that has to exist.
    pub fn source(&self) -> Option<Uuid> {
        match self {
            Self::New(_) => None,
            Self::Resume { session: id, .. } | Self::Fork { from: id, .. } => Some(*id),
        }
    }
}

impl Default for SessionChoice {
    fn default() -> Self {
        Self::new()
    }
}

/// What may happen without a question.
///
/// An enum because an older CLI takes any string as a mode and says "success".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PermissionMode {
    /// Ask for what is not allowed by a rule.
    Default,
    /// Edit files in the working directories unasked.
    AcceptEdits,
    /// Plan only, change nothing.
    Plan,
    /// Refuse instead of asking.
    DontAsk,
    /// Let a classifier of the API decide.
    Auto,
    /// Never ask. The CLI refuses to start with it as root.
    BypassPermissions,
}

impl PermissionMode {
    /// The CLI's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::AcceptEdits => "acceptEdits",
            Self::Plan => "plan",
            Self::DontAsk => "dontAsk",
            Self::Auto => "auto",
            Self::BypassPermissions => "bypassPermissions",
        }
    }
}

/// A settings file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SettingSource {
    /// `<config dir>/settings.json`.
    User,
    /// `<cwd>/.claude/settings.json`.
    Project,
    /// `<cwd>/.claude/settings.local.json`.
    Local,
}

impl SettingSource {
    /// The CLI's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Project => "project",
            Self::Local => "local",
        }
    }
}
