//! TLS: certificates by host, tickets that survive restarts, and reloading without a restart. New certificates are
//! checked first; when they are bad, the old ones stay.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Once};

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SignatureAlgorithm, version};
use seawall_domain::UnixMs;
use seawall_domain::ports::{Clock, Entropy};
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

use super::tickets::Tickets;

/// How long a self-signed certificate holds, in days; browsers refuse longer ones.
const SELF_SIGNED_DAYS: u64 = 397;
const DAY_S: u64 = 86_400;

/// A certificate chain and its key, both PEM.
#[derive(Clone)]
pub struct CertificatePair {
    /// The chain, the host's certificate first.
    pub certificate_pem: String,
    /// PKCS#8, SEC1 or PKCS#1. Secret.
    pub key_pem: Zeroizing<String>,
}

impl fmt::Debug for CertificatePair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificatePair").finish_non_exhaustive()
    }
}

/// The certificates of a listener: of the default, and of named hosts (`play.example`, `*.example`). Each may be an
/// ECDSA pair, an RSA pair, or both; a client gets the ECDSA one unless it cannot use it.
#[derive(Debug, Clone)]
pub struct HostCertificates {
    /// For clients that name no host or an unknown one.
    pub default: Vec<CertificatePair>,
    /// By host.
    pub by_host: Vec<(String, Vec<CertificatePair>)>,
}

/// What TLS needs from outside.
pub struct TlsOptions {
    /// Certificates.
    pub certificates: HostCertificates,
    /// Persisted, 32 unpredictable bytes. Secret.
    pub ticket_seed: [u8; 32],
    /// Time, for ticket keys.
    pub clock: Arc<dyn Clock>,
    /// Chance, for ticket nonces.
    pub entropy: Arc<dyn Entropy>,
}

/// Why certificates were refused. No text holds key material.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The PEM text could not be read.
    #[error("{host}: cannot read the {what}: {reason}")]
    Pem {
        /// Host, or `default`.
        host: String,
        /// `certificate` or `key`.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// The pair does not fit together or cannot be used.
    #[error("{host}: the certificate and the key cannot be used together: {reason}")]
    Pair {
        /// Host, or `default`.
        host: String,
        /// Why.
        reason: String,
    },
    /// No pair.
    #[error("{host}: no certificate is given")]
    Empty {
        /// Host, or `default`.
        host: String,
    },
    /// The library refused the configuration.
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
}

/// TLS of a listener; several listeners may share one.
pub struct Tls {
    config: ArcSwap<ServerConfig>,
    tickets: Arc<Tickets>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Tls {
    /// Checks the certificates and sets TLS up.
    pub fn new(options: TlsOptions) -> Result<Arc<Self>, TlsError> {
        let tickets = Arc::new(Tickets::new(options.ticket_seed, options.clock, options.entropy));
        let config = config(&options.certificates, &tickets)?;
        Ok(Arc::new(Tls {
            config: ArcSwap::from_pointee(config),
            tickets,
        }))
    }

    /// Swaps certificates for new handshakes. On an error the old ones stay.
    pub fn reload(&self, certificates: &HostCertificates) -> Result<(), TlsError> {
        let config = config(certificates, &self.tickets)?;
        self.config.store(Arc::new(config));
        Ok(())
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.load_full())
    }
}

/// The one cryptographic provider of the process: aws-lc-rs with the key exchanges X25519 and P-256. The first call
/// also makes it the process's default, for every other user of the library.
#[must_use]
pub fn crypto_provider() -> Arc<CryptoProvider> {
    static INSTALL: Once = Once::new();
    let provider = CryptoProvider {
        kx_groups: vec![aws_lc_rs::kx_group::X25519, aws_lc_rs::kx_group::SECP256R1],
        ..aws_lc_rs::default_provider()
    };
    INSTALL.call_once(|| {
        // Fails only when somebody was first, with the same library: nothing to do about it.
        let _ = provider.clone().install_default();
    });
    Arc::new(provider)
}

fn config(certificates: &HostCertificates, tickets: &Arc<Tickets>) -> Result<ServerConfig, TlsError> {
    let provider = crypto_provider();
    let resolver = Resolver::new(certificates, &provider)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])
        .map_err(|e| TlsError::Setup(e.to_string()))?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = Arc::<Tickets>::clone(tickets);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 1;
    Ok(config)
}

/// The pairs of one host, ECDSA first.
#[derive(Debug)]
struct Keys(Vec<Arc<CertifiedKey>>);

impl Keys {
    fn new(host: &str, pairs: &[CertificatePair], provider: &CryptoProvider) -> Result<Self, TlsError> {
        if pairs.is_empty() {
            return Err(TlsError::Empty { host: host.to_owned() });
        }
        let mut keys = pairs
            .iter()
            .map(|pair| certified(host, pair, provider))
            .collect::<Result<Vec<_>, _>>()?;
        keys.sort_by_key(|key| key.key.algorithm() == SignatureAlgorithm::RSA);
        Ok(Keys(keys))
    }

    fn best(&self, hello: &ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let usable = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        self.0.iter().find(usable).map(Arc::clone)
    }
}

fn certified(host: &str, pair: &CertificatePair, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, TlsError> {
    let pem = |what| {
        move |e: rustls::pki_types::pem::Error| TlsError::Pem {
            host: host.to_owned(),
            what,
            reason: e.to_string(),
        }
    };
    let chain = CertificateDer::pem_slice_iter(pair.certificate_pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(pem("certificate"))?;
    let key = PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes()).map_err(pem("key"))?;
    if chain.is_empty() {
        return Err(TlsError::Empty { host: host.to_owned() });
    }
    let certified = CertifiedKey::from_der(chain, key, provider);
    certified.map(Arc::new).map_err(|e| TlsError::Pair {
        host: host.to_owned(),
        reason: e.to_string(),
    })
}

#[derive(Debug)]
struct Resolver {
    default: Keys,
    by_host: HashMap<String, Keys>,
}

impl Resolver {
    fn new(certificates: &HostCertificates, provider: &CryptoProvider) -> Result<Self, TlsError> {
        let default = Keys::new("default", &certificates.default, provider)?;
        let by_host = certificates
            .by_host
            .iter()
            .map(|(host, pairs)| Ok((host.to_ascii_lowercase(), Keys::new(host, pairs, provider)?)))
            .collect::<Result<_, TlsError>>()?;
        Ok(Resolver { default, by_host })
    }

    /// By the exact name, else by a wildcard for its first label.
    fn of_host(&self, host: &str) -> Option<&Keys> {
        let host = host.to_ascii_lowercase();
        let exact = self.by_host.get(&host);
        exact.or_else(|| self.by_host.get(&format!("*.{}", host.split_once('.')?.1)))
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|host| self.of_host(host));
        named
            .and_then(|keys| keys.best(&hello))
            .or_else(|| self.default.best(&hello))
    }
}

/// A self-signed ECDSA P-256 pair for `names` (hosts and addresses), good from a day before `now_at` for
/// 397 days.
pub fn self_signed(names: &[String], now_at: UnixMs) -> Result<CertificatePair, TlsError> {
    let setup = |e: rcgen::Error| TlsError::Setup(e.to_string());
    let mut params = rcgen::CertificateParams::new(names).map_err(setup)?;
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let from = std::time::Duration::from_secs((now_at / 1000).saturating_sub(DAY_S));
    params.not_before = epoch + from;
    params.not_after = epoch + from + std::time::Duration::from_secs((SELF_SIGNED_DAYS + 1) * DAY_S);
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "Seawall self-signed");
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(setup)?;
    let certificate = params.self_signed(&key).map_err(setup)?;
    Ok(CertificatePair {
        certificate_pem: certificate.pem(),
        key_pem: Zeroizing::new(key.serialize_pem()),
    })
}
