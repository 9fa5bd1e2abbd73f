//! What a backup consists of, signed: an object nobody names is nothing, and a name without our signature is no backup.

use serde::{Deserialize, Serialize};

use super::key::BackupKey;
use super::repository::Repository;
use super::{BackupError, hex};

/// Folder of the manifests.
pub const MANIFESTS: &str = "manifests";
/// Folder of the files.
pub const OBJECTS: &str = "objects";
const FORMAT: u32 = 1;
/// What is signed begins with this, so that no other signature of the key can stand for it.
const DOMAIN: &[u8] = b"seawall backup manifest 1\n";

/// One file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Where it lies in a data directory.
    pub path: String,
    /// Length of its content.
    pub bytes: u64,
    /// Permission bits.
    pub mode: u32,
    /// Keyed BLAKE3 of its content, in hex; its object's name.
    pub id: String,
}

impl FileEntry {
    /// Name of its object.
    #[must_use]
    pub fn object(&self) -> String {
        format!("{OBJECTS}/{}", self.id)
    }
}

/// One backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Format level of this document.
    pub format: u32,
    /// Its id, which sorts by time.
    pub id: String,
    /// Whose data, in hex.
    pub cluster_id: String,
    /// Lsn of the copy.
    pub lsn: u64,
    /// Epoch of the frame of that lsn.
    pub epoch: u64,
    /// Chain at that lsn, in hex.
    pub chain: String,
    /// Now of the frame of that lsn, Unix milliseconds.
    pub now_at: u64,
    /// Digest of all rows and indexes at that lsn, in hex.
    pub digest: String,
    /// When it was made, Unix milliseconds.
    pub made_at: u64,
    /// Version of the program.
    pub version: String,
    /// Content of all files.
    pub plain_bytes: u64,
    /// Sent for it; what the repository had already is not counted.
    pub sent_bytes: u64,
    /// Files sent for it.
    pub sent_files: u64,
    /// Its files.
    pub files: Vec<FileEntry>,
}

/// A manifest as it lies in the repository.
#[derive(Debug, Serialize, Deserialize)]
struct Envelope {
    /// The document, as text: what is signed is exactly these bytes.
    manifest: String,
    /// Ed25519, in hex.
    signature: String,
}

impl Manifest {
    /// The format level of this release.
    pub const FORMAT: u32 = FORMAT;

    /// Name of its object.
    #[must_use]
    pub fn name(id: &str) -> String {
        format!("{MANIFESTS}/{id}.json")
    }

    /// Signed, as bytes.
    ///
    /// # Errors
    /// [`BackupError::Host`]; does not happen.
    pub fn seal(&self, key: &BackupKey) -> Result<Vec<u8>, BackupError> {
        let encode = |error: serde_json::Error| BackupError::Host(error.to_string());
        let manifest = serde_json::to_string(self).map_err(encode)?;
        let signature = hex(&key.sign(&[DOMAIN, manifest.as_bytes()].concat()));
        serde_json::to_vec(&Envelope { manifest, signature }).map_err(encode)
    }

    /// Reads what [`Manifest::seal`] wrote.
    ///
    /// # Errors
    /// [`BackupError::Damaged`] when it is not ours, changed, under another id, or of a newer release.
    pub fn open(key: &BackupKey, id: &str, bytes: &[u8]) -> Result<Self, BackupError> {
        let wrong = |what: &str| BackupError::Damaged(format!("manifest {id} {what}"));
        let envelope: Envelope = serde_json::from_slice(bytes).map_err(|_| wrong("is not understood"))?;
        let signature = super::unhex::<64>(&envelope.signature).ok_or_else(|| wrong("has no signature"))?;
        if !key.verifies(&[DOMAIN, envelope.manifest.as_bytes()].concat(), &signature) {
            return Err(wrong("is not signed with this backup key, or was changed"));
        }
        let manifest: Self = serde_json::from_str(&envelope.manifest).map_err(|_| wrong("is not understood"))?;
        if manifest.format != FORMAT {
            return Err(wrong(&format!(
                "has format {}, which a newer release wrote",
                manifest.format
            )));
        }
        if manifest.id != id {
            return Err(wrong(&format!("is that of {}", manifest.id)));
        }
        Ok(manifest)
    }

    /// Reads a manifest of the repository.
    ///
    /// # Errors
    /// As [`Manifest::open`], or [`BackupError::Missing`].
    pub async fn load(repository: &Repository, id: &str) -> Result<Self, BackupError> {
        let bytes = repository.get_small(&Self::name(id)).await?;
        Self::open(&repository.key, id, &bytes)
    }

    /// Ids of all manifests, oldest first.
    ///
    /// # Errors
    /// [`BackupError::Storage`].
    pub async fn ids(repository: &Repository) -> Result<Vec<String>, BackupError> {
        let listed = repository.list(MANIFESTS).await?;
        let id = |name: &str| Some(name.strip_prefix("manifests/")?.strip_suffix(".json")?.to_owned());
        Ok(listed.iter().filter_map(|object| id(&object.name)).collect())
    }

    /// All manifests, oldest first.
    ///
    /// # Errors
    /// As [`Manifest::load`] of any.
    pub async fn all(repository: &Repository) -> Result<Vec<Self>, BackupError> {
        let mut all = Vec::new();
        for id in Self::ids(repository).await? {
            all.push(Self::load(repository, &id).await?);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            format: FORMAT,
            id: "20261122T091403Z-7".into(),
            cluster_id: hex(&[1; 16]),
            lsn: 7,
            epoch: 1,
            chain: hex(&[2; 32]),
            now_at: 5,
            digest: hex(&[3; 32]),
            made_at: 6,
            version: "0.1.0".into(),
            plain_bytes: 1,
            sent_bytes: 2,
            sent_files: 1,
            files: vec![FileEntry {
                path: "db/CURRENT".into(),
                bytes: 1,
                mode: 0o600,
                id: hex(&[4; 32]),
            }],
        }
    }

    #[test]
    fn a_manifest_comes_back_only_under_its_key_its_id_and_unchanged() {
        let key = BackupKey::new([1; 32]).unwrap();
        let (manifest, bytes) = (manifest(), manifest().seal(&key).unwrap());
        assert_eq!(Manifest::open(&key, &manifest.id, &bytes).unwrap(), manifest);
        let said = |key: &BackupKey, id: &str, bytes: &[u8]| Manifest::open(key, id, bytes).unwrap_err().to_string();
        let other = BackupKey::new([2; 32]).unwrap();
        assert!(said(&other, &manifest.id, &bytes).contains("not signed"));
        assert!(said(&key, "another", &bytes).contains("is that of"));
        let text = String::from_utf8(bytes).unwrap();
        let changed = text.replacen("\\\"lsn\\\":7", "\\\"lsn\\\":8", 1);
        assert_ne!(changed, text);
        assert!(said(&key, &manifest.id, changed.as_bytes()).contains("was changed"));
        let unsigned = text.replacen("\"signature\":\"", "\"signature\":\"00", 1);
        assert!(said(&key, &manifest.id, unsigned.as_bytes()).contains("no signature"));
        assert!(said(&key, &manifest.id, b"{}").contains("not understood"));
    }

    #[test]
    fn a_newer_format_says_so() {
        let key = BackupKey::new([1; 32]).unwrap();
        let newer = Manifest {
            format: FORMAT + 1,
            ..manifest()
        };
        let said = Manifest::open(&key, &newer.id, &newer.seal(&key).unwrap()).unwrap_err();
        assert!(said.to_string().contains("newer release"));
    }
}
