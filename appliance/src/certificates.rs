//! TLS material on disk: the files the settings name, or a self-signed pair made at the first start; and the seed of
//! session tickets, so that a restart is no handshake storm.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use seawall_domain::UnixMs;
use seawall_domain::ports::{Clock, Entropy};
use seawall_web::{CertificatePair, HostCertificates, Tls, TlsOptions, self_signed};

use crate::clock::SystemClock;
use crate::data_dir::{DataDir, write_private};
use crate::entropy::OsEntropy;
use crate::settings::config::{CertificateFiles, HostConfig};

/// The self-signed pair is made anew at a start when it is this old; it is good for 397 days.
const SELF_SIGNED_MAX_AGE: Duration = Duration::from_secs(300 * 86_400);

/// Where the TLS material lies.
#[derive(Debug, Clone)]
pub struct CertificateSource {
    default: CertificateFiles,
    by_host: Vec<CertificateFiles>,
    /// Clients that trust the self-signed pair need its certificate.
    self_signed: Option<PathBuf>,
}

impl CertificateSource {
    /// The files of the settings; makes the self-signed pair when none is named and none is there.
    ///
    /// # Errors
    /// When the pair cannot be made or written.
    pub fn prepare(config: &HostConfig, dir: &DataDir, now_at: UnixMs) -> Result<Self, String> {
        let by_host = config.certificates.clone();
        if let Some(default) = config.certificate.clone() {
            return Ok(Self {
                default,
                by_host,
                self_signed: None,
            });
        }
        let default = CertificateFiles {
            hosts: Vec::new(),
            certificate_file: dir.tls("self-signed.pem"),
            key_file: dir.tls("self-signed.key"),
        };
        if !default.key_file.exists() || is_old(&default.certificate_file, now_at) {
            let pair = self_signed(&own_names(), now_at).map_err(|error| error.to_string())?;
            write(&default.certificate_file, pair.certificate_pem.as_bytes())?;
            write(&default.key_file, pair.key_pem.as_bytes())?;
        }
        Ok(Self {
            self_signed: Some(default.certificate_file.clone()),
            default,
            by_host,
        })
    }

    /// The self-signed certificate, for clients to trust; `None` with a certificate of the operator's own.
    #[must_use]
    pub fn ca_file(&self) -> Option<&Path> {
        self.self_signed.as_deref()
    }

    /// Reads all files.
    ///
    /// # Errors
    /// The file that cannot be read.
    pub fn load(&self) -> Result<HostCertificates, String> {
        let mut by_host: Vec<(String, Vec<CertificatePair>)> = Vec::new();
        for files in &self.by_host {
            for host in &files.hosts {
                let pair = pair(files)?;
                match by_host.iter_mut().find(|(known, _)| known == host) {
                    Some((_, pairs)) => pairs.push(pair),
                    None => by_host.push((host.clone(), vec![pair])),
                }
            }
        }
        Ok(HostCertificates {
            default: vec![pair(&self.default)?],
            by_host,
        })
    }

    /// When any of the files last changed; for the task that looks for renewed certificates.
    #[must_use]
    pub fn changed_at(&self) -> Vec<Option<UnixMs>> {
        std::iter::once(&self.default)
            .chain(&self.by_host)
            .flat_map(|files| [modified_at(&files.certificate_file), modified_at(&files.key_file)])
            .collect()
    }
}

/// TLS for all listeners that want it.
///
/// # Errors
/// When a file or the pair it holds cannot be used.
pub fn tls(
    source: &CertificateSource,
    dir: &DataDir,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
) -> Result<Arc<Tls>, String> {
    let options = TlsOptions {
        certificates: source.load()?,
        ticket_seed: ticket_seed(&dir.tls("ticket.seed"))?,
        clock,
        entropy,
    };
    Tls::new(options).map_err(|error| error.to_string())
}

/// TLS of this process, and the files it was made from.
pub struct Certificates {
    /// Shared by all listeners.
    pub tls: Arc<Tls>,
    /// The files, and when they last changed.
    files: Mutex<(CertificateSource, Vec<Option<u64>>)>,
}

impl Certificates {
    /// Reads or makes what the settings ask for.
    ///
    /// # Errors
    /// Which file cannot be used.
    pub fn prepare(config: &HostConfig, dir: &DataDir, now_at: u64) -> Result<Self, String> {
        let source = CertificateSource::prepare(config, dir, now_at)?;
        let tls = tls(&source, dir, Arc::new(SystemClock), Arc::new(OsEntropy))?;
        let seen = source.changed_at();
        Ok(Self {
            tls,
            files: Mutex::new((source, seen)),
        })
    }

    /// The self-signed certificate, for clients to trust.
    #[must_use]
    pub fn ca_file(&self) -> Option<PathBuf> {
        self.files.lock().0.ca_file().map(Path::to_owned)
    }

    /// Takes the files of new settings; on an error the old certificates stay.
    ///
    /// # Errors
    /// Which file cannot be used.
    pub fn replace(&self, config: &HostConfig, dir: &DataDir) -> Result<(), String> {
        let source = CertificateSource::prepare(config, dir, SystemClock.now_at())?;
        self.take(source)
    }

    /// Takes renewed files.
    ///
    /// # Errors
    /// Which file cannot be used; the old certificates stay.
    pub fn reload_if_changed(&self) -> Result<(), String> {
        let (source, seen) = self.files.lock().clone();
        if source.changed_at() == seen {
            Ok(())
        } else {
            self.take(source)
        }
    }

    fn take(&self, source: CertificateSource) -> Result<(), String> {
        let seen = source.changed_at();
        self.tls.reload(&source.load()?).map_err(|error| error.to_string())?;
        *self.files.lock() = (source, seen);
        tracing::info!("certificates loaded");
        Ok(())
    }
}

fn ticket_seed(path: &Path) -> Result<[u8; 32], String> {
    match std::fs::read(path) {
        Ok(bytes) => bytes.try_into().map_err(|_| {
            format!(
                "{}: expected 32 bytes; remove the file to have a new one made",
                path.display()
            )
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let seed = OsEntropy.bytes();
            write(path, &seed)?;
            Ok(seed)
        }
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

fn pair(files: &CertificateFiles) -> Result<CertificatePair, String> {
    let read = |path: &Path| std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()));
    Ok(CertificatePair {
        certificate_pem: read(&files.certificate_file)?,
        key_pem: read(&files.key_file)?.into(),
    })
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    write_private(path, bytes).map_err(|error| format!("{}: {error}", path.display()))
}

fn modified_at(path: &Path) -> Option<UnixMs> {
    let since = std::fs::metadata(path)
        .ok()?
        .modified()
        .ok()?
        .duration_since(std::time::UNIX_EPOCH)
        .ok()?;
    u64::try_from(since.as_millis()).ok()
}

fn is_old(path: &Path, now_at: UnixMs) -> bool {
    let max_ms = u64::try_from(SELF_SIGNED_MAX_AGE.as_millis()).unwrap_or(u64::MAX);
    modified_at(path).is_none_or(|made_at| now_at.saturating_sub(made_at) > max_ms)
}

/// What a client of a trial may call this host.
fn own_names() -> Vec<String> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".into(), "::1".into()];
    let is_name = !host.is_empty()
        && host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
    if is_name && !names.contains(&host) {
        names.push(host);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::load::{Layers, load};

    fn config(root: &Path) -> HostConfig {
        let main = root.join("seawall.toml");
        std::fs::write(&main, "").unwrap();
        HostConfig::from_settings(
            &load(&Layers {
                file: Some(main),
                ..Layers::default()
            })
            .unwrap(),
        )
        .unwrap()
    }

    #[test]
    fn the_pair_and_the_seed_are_made_once_and_usable() {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::create(&root.path().join("data")).unwrap();
        let config = config(root.path());
        let now_at = SystemClock.now_at();
        let first = CertificateSource::prepare(&config, &dir, now_at).unwrap();
        let pem = std::fs::read(first.ca_file().unwrap()).unwrap();
        tls(&first, &dir, Arc::new(SystemClock), Arc::new(OsEntropy)).unwrap();
        let seed = std::fs::read(dir.tls("ticket.seed")).unwrap();

        let second = CertificateSource::prepare(&config, &dir, now_at).unwrap();
        tls(&second, &dir, Arc::new(SystemClock), Arc::new(OsEntropy)).unwrap();
        assert_eq!(std::fs::read(second.ca_file().unwrap()).unwrap(), pem, "kept");
        assert_eq!(std::fs::read(dir.tls("ticket.seed")).unwrap(), seed, "kept");

        let in_a_year = now_at + 301 * 86_400_000;
        let third = CertificateSource::prepare(&config, &dir, in_a_year).unwrap();
        assert_ne!(std::fs::read(third.ca_file().unwrap()).unwrap(), pem, "made anew");
    }

    #[test]
    fn files_that_cannot_be_used_are_named() {
        let root = tempfile::tempdir().unwrap();
        let files = CertificateFiles {
            hosts: vec!["a.example".into()],
            certificate_file: root.path().join("no.pem"),
            key_file: root.path().join("no.key"),
        };
        let source = CertificateSource {
            default: files,
            by_host: Vec::new(),
            self_signed: None,
        };
        assert!(source.load().unwrap_err().contains("no.pem"));
    }
}
