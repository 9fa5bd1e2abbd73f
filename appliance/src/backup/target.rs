//! Where a repository lies: a directory, or a bucket of S3-compatible storage.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use url::Url;
use zeroize::Zeroizing;

use super::BackupError;
use crate::cli::secret_file;

/// One request to S3-compatible storage, a part of 8 MiB included.
const REQUEST_MAX: Duration = Duration::from_secs(120);
/// Finding and greeting the storage.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Trying one request again and again.
const RETRY_MAX: Duration = Duration::from_secs(60);
const RETRIES_MAX: usize = 6;

/// A place for a repository, as an operator writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `dir:///path`.
    Dir(PathBuf),
    /// `s3://bucket/prefix?endpoint=https://…&region=…`.
    S3 {
        /// Bucket.
        bucket: String,
        /// Folder in the bucket; may be empty.
        prefix: String,
        /// Of storage that is not Amazon's; addressed by path then.
        endpoint: Option<String>,
        /// `us-east-1` unless said.
        region: String,
    },
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dir(path) => write!(f, "dir://{}", path.display()),
            Self::S3 { bucket, prefix, .. } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

impl Target {
    /// Reads a target.
    ///
    /// # Errors
    /// What is wrong and what is expected, as a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "expected dir:///path or s3://bucket/prefix?endpoint=https://host&region=name";
        if let Some(path) = text.strip_prefix("dir://") {
            return match Path::new(path).is_absolute() {
                true => Ok(Self::Dir(path.into())),
                false => Err(format!("`{text}`: the path must begin with `/`; {EXPECTED}")),
            };
        }
        let url = Url::parse(text).map_err(|_| format!("`{text}` is no target; {EXPECTED}"))?;
        let bucket = url.host_str().unwrap_or_default();
        if url.scheme() != "s3" || bucket.is_empty() || !url.username().is_empty() || url.password().is_some() {
            return Err(format!(
                "no target; {EXPECTED}; credentials come from a file or the environment"
            ));
        }
        let (mut endpoint, mut region) = (None, "us-east-1".to_owned());
        for (name, value) in url.query_pairs() {
            match name.as_ref() {
                "endpoint" => endpoint = Some(value.into_owned()),
                "region" => region = value.into_owned(),
                other => return Err(format!("`{other}` is no option of a target; {EXPECTED}")),
            }
        }
        let prefix = url.path().trim_matches('/').to_owned();
        Ok(Self::S3 {
            bucket: bucket.to_owned(),
            prefix,
            endpoint,
            region,
        })
    }

    /// The folder of the repository in the store that [`Target::open`] gives.
    #[must_use]
    pub fn prefix(&self) -> &str {
        match self {
            Self::Dir(_) => "",
            Self::S3 { prefix, .. } => prefix,
        }
    }

    /// Opens it. For S3-compatible storage the credentials are in `credentials` or in the environment; a directory is
    /// made when `create` says so.
    ///
    /// # Errors
    /// [`BackupError::Target`].
    pub fn open(&self, credentials: Option<&Path>, create: bool) -> Result<Arc<dyn ObjectStore>, BackupError> {
        let wrong = |what: String| BackupError::Target(format!("{self}: {what}"));
        match self {
            Self::Dir(path) => {
                if create {
                    make_private(path).map_err(|error| wrong(error.to_string()))?;
                }
                let store = LocalFileSystem::new_with_prefix(path).map_err(|error| wrong(error.to_string()))?;
                Ok(Arc::new(store.with_fsync(true)))
            }
            Self::S3 {
                bucket,
                endpoint,
                region,
                ..
            } => {
                let mut builder = AmazonS3Builder::new()
                    .with_bucket_name(bucket)
                    .with_region(region)
                    .with_retry(retry())
                    .with_client_options(client());
                if let Some(endpoint) = endpoint {
                    // Over plain HTTP only where the operator wrote it so: everything sent is sealed and signed.
                    builder = builder
                        .with_endpoint(endpoint)
                        .with_allow_http(endpoint.starts_with("http://"));
                }
                let credentials = Credentials::find(credentials)?;
                let builder = builder
                    .with_access_key_id(credentials.id.as_str())
                    .with_secret_access_key(credentials.secret.as_str());
                Ok(Arc::new(builder.build().map_err(|error| wrong(error.to_string()))?))
            }
        }
    }
}

fn make_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn retry() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: RETRIES_MAX,
        retry_timeout: RETRY_MAX,
    }
}

fn client() -> ClientOptions {
    ClientOptions::new()
        .with_timeout(REQUEST_MAX)
        .with_connect_timeout(CONNECT_MAX)
        .with_allow_http(true)
}

/// What S3-compatible storage asks for.
struct Credentials {
    id: Zeroizing<String>,
    secret: Zeroizing<String>,
}

impl Credentials {
    fn find(file: Option<&Path>) -> Result<Self, BackupError> {
        let text = match file {
            Some(path) => Some(secret_file::read(path).map_err(|error| BackupError::Target(error.to_string()))?),
            None => None,
        };
        let text = text.map(Zeroizing::new);
        let from = |name: &str| match &text {
            Some(text) => field(text, name),
            None => std::env::var(name.to_uppercase()).ok(),
        };
        match (from("aws_access_key_id"), from("aws_secret_access_key")) {
            (Some(id), Some(secret)) => Ok(Self {
                id: Zeroizing::new(id),
                secret: Zeroizing::new(secret),
            }),
            _ => Err(BackupError::Target(
                "credentials are missing: set backup.credentials_file to a file with the lines `aws_access_key_id = …` \
                 and `aws_secret_access_key = …`, or both as environment variables in capitals"
                    .into(),
            )),
        }
    }
}

/// The value of `name = value`, as in the usual credentials files; headings are passed over.
fn field(text: &str, name: &str) -> Option<String> {
    let mut lines = text.lines().filter_map(|line| line.split_once('='));
    let (_, value) = lines.find(|(found, _)| found.trim() == name)?;
    Some(value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_and_others_refused_with_what_is_expected() {
        assert_eq!(Target::parse("dir:///b").unwrap(), Target::Dir("/b".into()));
        let s3 = Target::parse("s3://bucket/a/b/?endpoint=http://127.0.0.1:9000&region=eu-1").unwrap();
        assert_eq!(
            s3,
            Target::S3 {
                bucket: "bucket".into(),
                prefix: "a/b".into(),
                endpoint: Some("http://127.0.0.1:9000".into()),
                region: "eu-1".into()
            }
        );
        assert_eq!((s3.to_string().as_str(), s3.prefix()), ("s3://bucket/a/b", "a/b"));
        for wrong in [
            "",
            "/b",
            "dir://b",
            "ftp://x/y",
            "s3://",
            "s3://b/p?acl=public",
            "s3://id:secret@b/p",
        ] {
            let said = Target::parse(wrong).unwrap_err();
            assert!(said.contains("expected dir:///path"), "{wrong}: {said}");
            assert!(!said.contains("secret@"), "credentials are not repeated");
        }
    }

    #[test]
    fn credentials_come_from_a_file_in_the_usual_form() {
        let text = "[default]\naws_access_key_id = A\naws_secret_access_key=S/+=\n";
        assert_eq!(field(text, "aws_access_key_id").as_deref(), Some("A"));
        assert_eq!(field(text, "aws_secret_access_key").as_deref(), Some("S/+="));
        assert_eq!(field(text, "other"), None);
    }
}
