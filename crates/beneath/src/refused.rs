//! What is not done, because of what is in the tree.

use std::io;

use rustix::io::Errno;
use thiserror::Error;

/// Why something in a tree is not touched.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// The path is absolute or has a `..` in it.
    #[error("the path leads out of its folder")]
    LeadsOut,
    /// The path is empty.
    #[error("the path names no file")]
    NamesNothing,
    /// A link, a pipe, a socket, a device, a folder.
    #[error("`{0}` is no regular file")]
    NotAFile(String),
    /// A link, or anything else but a folder.
    #[error("`{0}` is no folder: it is a link, or something else")]
    NotAFolder(String),
    /// To write to it would be to write to something of another name, too.
    #[error("`{0}` has other names, too: it is a hard link")]
    OtherNames(String),
    /// More than the reader wants.
    #[error("`{name}` has more than {max} {unit}")]
    TooLarge {
        /// The file.
        name: String,
        /// What the reader wants at most.
        max: u64,
        /// Of what: `bytes`, `lines`.
        unit: &'static str,
    },
}

impl From<Refused> for io::Error {
    fn from(refused: Refused) -> Self {
        Self::other(refused)
    }
}

/// Whether an error says what the tree is like (a link in the way, no permission, nothing there), and will
/// come again however often it is tried. The others say what the machine is like: a broken disk, no memory.
#[must_use]
pub fn is_the_trees_doing(error: &io::Error) -> bool {
    if error.get_ref().is_some_and(|inner| inner.is::<Refused>()) {
        return true;
    }
    // EAGAIN is what opening a file says on which somebody holds a lease.
    const OF_THE_TREE: [Errno; 9] = [
        Errno::NOENT,
        Errno::NOTDIR,
        Errno::ISDIR,
        Errno::LOOP,
        Errno::ACCESS,
        Errno::PERM,
        Errno::NAMETOOLONG,
        Errno::AGAIN,
        Errno::NXIO,
    ];
    Errno::from_io_error(error).is_some_and(|errno| OF_THE_TREE.contains(&errno))
}
