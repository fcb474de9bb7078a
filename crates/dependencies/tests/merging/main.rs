//! Merging as whoever builds an image sees it: files in, files or a report out.

mod cases;
mod hostile;
mod properties;
mod report;
mod support;
