//! The object store as this crate uses it: whole small objects, durable once written.

use std::{
    fmt,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path as FilePath, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::{
    BackoffConfig, ClientOptions, ObjectMeta, ObjectStore, ObjectStoreExt as _, RetryConfig,
    aws::AmazonS3Builder, local::LocalFileSystem, path::Path, prefix::PrefixStore,
};
use secrecy::{ExposeSecret as _, SecretString};

use crate::{OpenError, StoreError, error::file_error};

/// How often a request to S3 is repeated.
const S3_RETRIES: usize = 5;

/// After this long no request to S3 is repeated any more.
const S3_RETRY_TIMEOUT: Duration = Duration::from_secs(60);

/// One request to S3 takes no longer: a megabyte, even over a bad link.
const S3_REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// An S3-compatible place for checkpoints.
#[derive(Clone, Debug)]
pub struct S3Settings {
    /// `https://host[:port]`; `None` for Amazon's own. Plain `http` only to this machine itself.
    pub endpoint: Option<String>,
    /// The bucket, which must exist.
    pub bucket: String,
    /// What every key begins with; may be empty.
    pub prefix: String,
    /// The region, `us-east-1` where a server has none.
    pub region: String,
    /// The access key's id.
    pub key_id: String,
    /// The access key.
    pub secret: SecretString,
}

/// Where objects are, and what is special about a folder.
#[derive(Clone)]
pub(crate) struct Backend {
    store: Arc<dyn ObjectStore>,
    folder: Option<PathBuf>,
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The store's own would show how it signs.
        write!(f, "Backend({})", self.store)
    }
}

impl Backend {
    /// A folder of this machine, made if it is missing, for its owner alone.
    pub(crate) fn local(root: &FilePath) -> Result<Self, OpenError> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(root)
            .and_then(|()| std::fs::set_permissions(root, std::fs::Permissions::from_mode(0o700)))
            .map_err(file_error("prepare", root))?;
        let root = root.canonicalize().map_err(file_error("find", root))?;
        spread(&root.join(crate::blob::BLOBS)).map_err(file_error("prepare", &root))?;
        // A rename is durable only once the file and its folder are synced: without this a power cut
        // could leave a manifest whose blobs are empty.
        let store = LocalFileSystem::new_with_prefix(&root)
            .map_err(|error| OpenError::Settings(Box::new(error)))?
            .with_fsync(true)
            .with_automatic_cleanup(true);
        Ok(Self { store: Arc::new(store), folder: Some(root) })
    }

    pub(crate) fn s3(settings: &S3Settings) -> Result<Self, OpenError> {
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&settings.bucket)
            .with_region(&settings.region)
            .with_access_key_id(&settings.key_id)
            .with_secret_access_key(settings.secret.expose_secret())
            .with_retry(RetryConfig {
                backoff: BackoffConfig::default(),
                max_retries: S3_RETRIES,
                retry_timeout: S3_RETRY_TIMEOUT,
            });
        let mut options = ClientOptions::new().with_timeout(S3_REQUEST_TIMEOUT);
        if let Some(endpoint) = &settings.endpoint {
            options = options.with_allow_http(may_be_plain(endpoint)?);
            builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
        }
        let store = builder
            .with_client_options(options)
            .build()
            .map_err(|error| OpenError::Settings(Box::new(error)))?;
        let store: Arc<dyn ObjectStore> = match settings.prefix.trim_matches('/') {
            "" => Arc::new(store),
            prefix => Arc::new(PrefixStore::new(store, prefix)),
        };
        Ok(Self { store, folder: None })
    }

    /// The folder, if it is one.
    pub(crate) fn folder(&self) -> Option<&FilePath> {
        self.folder.as_deref()
    }

    /// Writes an object whole. It is durable when this returns.
    pub(crate) async fn put(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.store.put(&Path::from(key), bytes.into()).await.map_err(object_error("write", key))?;
        if let Some(folder) = &self.folder {
            // Nobody else gets through the root; this is for whoever copies single files out of it.
            let path = folder.join(key);
            let owner_only = std::fs::Permissions::from_mode(0o600);
            // A sweep may have moved it on.
            let protected = or_gone(tokio::fs::set_permissions(&path, owner_only).await);
            protected.map_err(file_error("protect", path))?;
        }
        Ok(())
    }

    /// An object's bytes, if there is one.
    pub(crate) async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        let found = async { self.store.get(&Path::from(key)).await?.bytes().await };
        none_if_missing(found.await).map_err(object_error("read", key))
    }

    /// An object's size, if there is one.
    pub(crate) async fn size(&self, key: &str) -> Result<Option<u64>, StoreError> {
        let found = self.store.head(&Path::from(key)).await;
        Ok(none_if_missing(found).map_err(object_error("look for", key))?.map(|meta| meta.size))
    }

    /// Removes an object. One that is not there is no error.
    pub(crate) async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let gone = self.store.delete(&Path::from(key)).await;
        none_if_missing(gone).map(|_| ()).map_err(object_error("delete", key))
    }

    /// Gives an object another key. One that is not there any more is no error.
    pub(crate) async fn rename(&self, from: &str, to: &str) -> Result<(), StoreError> {
        let moved = self.store.rename(&Path::from(from), &Path::from(to)).await;
        none_if_missing(moved).map(|_| ()).map_err(object_error("move", from))
    }

    /// All objects below a folder of keys, in no order. That a bucket is missing is an error: it must
    /// not look like an empty one.
    pub(crate) async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        let listed = self.store.list(Some(&Path::from(prefix))).try_collect().await;
        listed.map_err(object_error("list", prefix))
    }

    /// The names of the folders of keys right below one.
    pub(crate) async fn folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let listed = self.store.list_with_delimiter(Some(&Path::from(prefix))).await;
        let folders = listed.map_err(object_error("list", prefix))?.common_prefixes;
        Ok(folders.iter().filter_map(|path| path.filename().map(str::to_owned)).collect())
    }

    /// Makes sure that objects another process has just put there do not vanish in a power cut: it
    /// may have renamed them and not yet synced the folder.
    pub(crate) async fn settle(&self, keys: Vec<String>) -> Result<(), StoreError> {
        let Some(folder) = self.folder.clone() else { return Ok(()) };
        tokio::task::spawn_blocking(move || {
            for key in keys {
                let path = folder.join(key);
                let parent = path.parent().unwrap_or(&folder);
                let synced = std::fs::File::open(parent).and_then(|folder| folder.sync_all());
                or_gone(synced).map_err(file_error("sync", parent))?;
            }
            Ok(())
        })
        .await?
    }
}

/// Makes the 256 folders of blobs at once: made one by one, each would have to be synced before the
/// first blob in it is durable.
fn spread(blobs: &FilePath) -> std::io::Result<()> {
    if blobs.join("ff").is_dir() {
        return Ok(());
    }
    for first in 0..=255u8 {
        std::fs::create_dir_all(blobs.join(format!("{first:02x}")))?;
    }
    for folder in blobs.ancestors().take(3) {
        std::fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}

fn object_error(what: &'static str, key: &str) -> impl FnOnce(object_store::Error) -> StoreError {
    move |source| StoreError::Object { what, key: key.to_owned(), source: Box::new(source) }
}

/// That a file is not there any more is fine.
fn or_gone(result: std::io::Result<()>) -> std::io::Result<()> {
    match result {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn none_if_missing<T>(result: object_store::Result<T>) -> object_store::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether an endpoint may be spoken to without TLS.
fn may_be_plain(endpoint: &str) -> Result<bool, OpenError> {
    let url = url::Url::parse(endpoint).map_err(|_| OpenError::NotAUrl(endpoint.to_owned()))?;
    let loopback = match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => return Err(OpenError::NotAUrl(endpoint.to_owned())),
    };
    match (url.scheme(), loopback) {
        ("https", _) => Ok(false),
        ("http", true) => Ok(true),
        ("http", false) => Err(OpenError::NotEncrypted(endpoint.to_owned())),
        _ => Err(OpenError::NotAUrl(endpoint.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_goes_to_this_machine_only() {
        for fine in ["http://127.0.0.1:9000", "http://[::1]:1", "http://localhost:9000/"] {
            assert!(may_be_plain(fine).expect(fine), "{fine}");
        }
        assert!(!may_be_plain("https://s3.example.org").expect("https"));
        for bad in ["http://s3.example.org", "http://10.0.0.1", "http://localhost.example.org"] {
            assert!(matches!(may_be_plain(bad), Err(OpenError::NotEncrypted(_))), "{bad}");
        }
        for bad in ["s3.example.org", "ftp://localhost", "http://"] {
            assert!(matches!(may_be_plain(bad), Err(OpenError::NotAUrl(_))), "{bad}");
        }
    }

    #[test]
    fn a_key_is_shown_nowhere() {
        let settings = S3Settings {
            endpoint: Some("http://127.0.0.1:1".into()),
            bucket: "bucket".into(),
            prefix: "a/b".into(),
            region: "us-east-1".into(),
            key_id: "KEYID".into(),
            secret: "very-secret".into(),
        };
        let shown = format!("{settings:?} {:?}", Backend::s3(&settings).expect("settings"));
        assert!(!shown.contains("very-secret"), "{shown}");
    }
}
