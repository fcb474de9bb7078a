//! Where things are in the data folder.

use std::path::{Path, PathBuf};

use holdpoint_model::{ExecutionId, Incarnation};

/// The folders of the data folder. The same execution always has the same paths (invariant 9).
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Of this data folder, which must be an absolute path.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// The data folder itself.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Everything of one execution.
    #[must_use]
    pub fn execution(&self, id: ExecutionId) -> PathBuf {
        self.root.join("executions").join(id.to_string())
    }

    /// The files that people upload before a conversation takes them.
    pub(crate) fn uploads(&self) -> PathBuf {
        self.root.join("uploads")
    }

    /// The session's working directory.
    #[must_use]
    pub fn workspace(&self, id: ExecutionId) -> PathBuf {
        self.execution(id).join("workspace")
    }

    /// The session's HOME; its configuration folder is `.claude` in it.
    #[must_use]
    pub fn home(&self, id: ExecutionId) -> PathBuf {
        self.execution(id).join("home")
    }

    /// The session's configuration folder.
    #[must_use]
    pub fn claude_config(home: &Path) -> PathBuf {
        home.join(".claude")
    }

    /// One worker's own folder: specification, journal, log.
    #[must_use]
    pub fn run(&self, id: ExecutionId, incarnation: Incarnation) -> PathBuf {
        self.execution(id).join("run").join(incarnation.to_string())
    }
}

impl Layout {
    /// Makes an execution's folder, for the owner alone.
    pub(crate) fn create_execution(&self, id: ExecutionId) -> std::io::Result<()> {
        create_private(&self.execution(id))
    }

    /// Makes an execution's workspace, for the owner alone.
    pub(crate) fn create_workspace(&self, id: ExecutionId) -> std::io::Result<()> {
        create_private(&self.workspace(id))
    }
}

/// Makes a folder and those above it that are missing, for the owner alone.
pub(crate) fn create_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}
