//! `[checkpoints]`: where checkpoints are kept.

use std::path::Path;

use holdpoint_checkpoint::{Checkpoints, S3Settings};
use secrecy::ExposeSecret as _;

use super::{NamedSecret, file::S3Table};
use crate::{
    env::Environment,
    failure::{Exit, Failure},
};

/// The folder of checkpoints in the data folder.
const FOLDER: &str = "checkpoints";

/// Where checkpoints are kept: a folder of the data folder, or a bucket.
#[derive(Clone, Debug, Default)]
pub struct CheckpointStore {
    s3: Option<Bucket>,
}

#[derive(Clone, Debug)]
struct Bucket {
    table: S3Table,
    key_id: NamedSecret,
    secret: NamedSecret,
}

impl CheckpointStore {
    pub(super) fn resolve(s3: Option<S3Table>, environment: &Environment) -> Self {
        let named = |variable: &str| NamedSecret {
            variable: variable.to_owned(),
            value: (environment.named.0)(variable),
        };
        let s3 = s3.map(|table| Bucket {
            key_id: named(&table.key_id.env),
            secret: named(&table.secret.env),
            table,
        });
        Self { s3 }
    }

    /// Whether they are kept in the data folder.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.s3.is_none()
    }

    /// Ready to use. Nothing is sent yet.
    ///
    /// # Errors
    /// When the folder cannot be used, a key is missing, or the settings do not fit together.
    pub fn open(&self, data: &Path) -> Result<Checkpoints, Failure> {
        let Some(Bucket { table, key_id, secret }) = &self.s3 else {
            let folder = data.join(FOLDER);
            return Checkpoints::local(&folder).map_err(|error| {
                Failure::new(format!("failed to use {} for checkpoints", folder.display())).why(error)
            });
        };
        let set = |named: &NamedSecret| {
            named.value.clone().ok_or_else(|| {
                Failure::new("checkpoints cannot be kept in the bucket of [checkpoints]")
                    .exit(Exit::Config)
                    .why(format!("{} is not set", named.variable))
                    .next(format!("export {}=…     (of an access key for the bucket)", named.variable))
            })
        };
        let settings = S3Settings {
            endpoint: table.endpoint.clone(),
            bucket: table.bucket.clone(),
            prefix: table.prefix.clone(),
            region: table.region.clone().unwrap_or_else(|| "us-east-1".into()),
            key_id: set(key_id)?.expose_secret().to_owned(),
            secret: set(secret)?,
        };
        Checkpoints::s3(&settings).map_err(|error| {
            Failure::new("checkpoints cannot be kept in the bucket of [checkpoints]")
                .exit(Exit::Config)
                .why(error)
        })
    }
}
