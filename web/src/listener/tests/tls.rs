//! TLS with real handshakes: resumption across processes, certificates by host and by what the client can check, hot
//! reload, HTTP/2.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, HandshakeKind, SignatureScheme};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::Limits;
use crate::listener::tls::{CertificatePair, HostCertificates, Tls, TlsOptions, crypto_provider, self_signed};
use crate::testing::{Client, FixedClock, SeededEntropy, World, eventually};

const NOW_AT: u64 = 1_767_225_600_000;

fn pair(name: &str) -> CertificatePair {
    self_signed(&[name.to_owned()], NOW_AT).unwrap()
}

fn rsa_pair(name: &str) -> CertificatePair {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let certificate = rcgen::CertificateParams::new(vec![name.to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    CertificatePair {
        certificate_pem: certificate.pem(),
        key_pem: key.serialize_pem().into(),
    }
}

fn with_certificates(certificates: HostCertificates, seed: u8) -> Arc<Tls> {
    Tls::new(TlsOptions {
        certificates,
        ticket_seed: [seed; 32],
        clock: Arc::new(FixedClock(NOW_AT)),
        entropy: Arc::new(SeededEntropy::new(u64::from(seed))),
    })
    .unwrap()
}

pub(super) fn tls(seed: u8) -> Arc<Tls> {
    with_certificates(
        HostCertificates {
            default: vec![pair("default.example")],
            by_host: Vec::new(),
        },
        seed,
    )
}

/// Accepts any certificate: these tests look at which one came, not at who signed it.
#[derive(Debug)]
struct Anyone(Vec<SignatureScheme>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}

fn client_config(schemes: &[SignatureScheme], alpn: &[&str]) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(crypto_provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(schemes.to_vec())))
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

const ECDSA: &[SignatureScheme] = &[SignatureScheme::ECDSA_NISTP256_SHA256];
const RSA: &[SignatureScheme] = &[SignatureScheme::RSA_PSS_SHA256, SignatureScheme::RSA_PKCS1_SHA256];

async fn connect(world: &World, config: &Arc<ClientConfig>, host: &str) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", world.port())).await.unwrap();
    shake_hands_with(stream, config, host).await
}

async fn shake_hands_with(stream: TcpStream, config: &Arc<ClientConfig>, host: &str) -> TlsStream<TcpStream> {
    let host = ServerName::try_from(host.to_owned()).unwrap();
    TlsConnector::from(Arc::clone(config))
        .connect(host, stream)
        .await
        .unwrap()
}

/// TLS over a stream, for HTTP/1.
pub(super) async fn shake_hands(stream: TcpStream) -> TlsStream<TcpStream> {
    shake_hands_with(stream, &client_config(ECDSA, &["http/1.1"]), "a.example").await
}

/// One request, so that the session ticket arrives; tells how the handshake went.
async fn visit(world: &World, config: &Arc<ClientConfig>, host: &str) -> HandshakeKind {
    let mut client = Client::new(connect(world, config, host).await);
    assert_eq!(client.get("/livez").await.status, 200);
    client.stream.get_ref().1.handshake_kind().unwrap()
}

#[tokio::test]
async fn whoever_begins_a_handshake_and_does_not_go_on_keeps_nobody_waiting() {
    let limits = Limits {
        handshakes_max: 1,
        ..Limits::default()
    };
    let world = World::start(limits, |config| config.tls = Some(tls(3)));
    let mut slow = TcpStream::connect(("127.0.0.1", world.port())).await.unwrap();
    slow.write_all(&[22, 3, 1]).await.unwrap();
    eventually(
        || world.metric("seawall_connections_open{listener=\"test\"}") == 1.0,
        "the slow one is there",
    )
    .await;
    let config = client_config(ECDSA, &["http/1.1"]);
    let mut client = Client::new(connect(&world, &config, "default.example").await);
    assert_eq!(client.get("/livez").await.status, 200);
    drop(slow);
}

#[tokio::test]
async fn whoever_has_left_gets_no_handshake() {
    let world = World::start(Limits::default(), |config| config.tls = Some(tls(3)));
    // Comes and leaves before the server, on this very thread, can look.
    let mut gone = std::net::TcpStream::connect(("127.0.0.1", world.port())).unwrap();
    std::io::Write::write_all(&mut gone, &[22, 3, 1]).unwrap();
    drop(gone);
    world.cut_for("handshake_left").await;
}

#[tokio::test]
async fn a_tls_session_rests_and_goes_on_without_a_new_handshake() {
    let limits = Limits {
        rest_after_ms: 20,
        ..Limits::default()
    };
    let world = World::start(limits, |config| config.tls = Some(tls(3)));
    let config = client_config(ECDSA, &["http/1.1"]);
    let mut client = Client::new(connect(&world, &config, "default.example").await);
    for _ in 0..3 {
        assert_eq!(client.get("/livez").await.status, 200);
        eventually(|| world.metric("seawall_connections_resting") == 1.0, "it rests").await;
    }
    let resting = Client::new(connect(&world, &config, "default.example").await);
    drop((client, resting));
    eventually(
        || world.metric("seawall_connections_open{listener=\"test\"}") == 0.0,
        "clients that left are not kept",
    )
    .await;
}

async fn certificate(world: &World, config: &Arc<ClientConfig>, host: &str) -> Vec<u8> {
    connect(world, config, host)
        .await
        .get_ref()
        .1
        .peer_certificates()
        .unwrap()[0]
        .to_vec()
}

fn der(pair: &CertificatePair) -> Vec<u8> {
    use rustls::pki_types::pem::PemObject;
    CertificateDer::from_pem_slice(pair.certificate_pem.as_bytes())
        .unwrap()
        .to_vec()
}

#[tokio::test]
async fn sessions_resume_on_another_server_with_the_same_seed_and_not_with_another() {
    let serve = |seed| World::start(Limits::default(), move |config| config.tls = Some(tls(seed)));
    let (before, after, foreign) = (serve(1), serve(1), serve(2));
    let config = client_config(ECDSA, &["http/1.1"]);
    assert_eq!(visit(&before, &config, "a.example").await, HandshakeKind::Full);
    assert_eq!(visit(&after, &config, "a.example").await, HandshakeKind::Resumed);
    assert!(after.metric("seawall_tls_resumed_total") >= 1.0);
    assert_eq!(visit(&foreign, &config, "a.example").await, HandshakeKind::Full);
}

#[tokio::test]
async fn certificates_follow_the_host_and_what_the_client_can_check() {
    let (default, ecdsa, rsa, wild) = (pair("d"), pair("a.example"), rsa_pair("a.example"), pair("w"));
    let certificates = HostCertificates {
        default: vec![default.clone()],
        by_host: vec![
            ("A.example".into(), vec![rsa.clone(), ecdsa.clone()]),
            ("*.games.example".into(), vec![wild.clone()]),
        ],
    };
    let tls = with_certificates(certificates, 1);
    let world = World::start(Limits::default(), |config| config.tls = Some(tls));
    let both = [ECDSA, RSA].concat();
    assert_eq!(
        certificate(&world, &client_config(&both, &[]), "a.example").await,
        der(&ecdsa)
    );
    assert_eq!(
        certificate(&world, &client_config(RSA, &[]), "a.example").await,
        der(&rsa)
    );
    assert_eq!(
        certificate(&world, &client_config(ECDSA, &[]), "x.games.example").await,
        der(&wild)
    );
    assert_eq!(
        certificate(&world, &client_config(ECDSA, &[]), "other.example").await,
        der(&default)
    );
    assert_eq!(
        certificate(&world, &client_config(ECDSA, &[]), "127.0.0.1").await,
        der(&default)
    );
}

#[tokio::test]
async fn reloading_swaps_good_certificates_and_keeps_the_old_ones_on_an_error() {
    let (old, new) = (pair("old"), pair("new"));
    let only = |pair: &CertificatePair| HostCertificates {
        default: vec![pair.clone()],
        by_host: Vec::new(),
    };
    let tls = with_certificates(only(&old), 1);
    let shared = Arc::clone(&tls);
    let world = World::start(Limits::default(), |config| config.tls = Some(shared));
    let config = client_config(ECDSA, &["http/1.1"]);
    let mut kept = Client::new(connect(&world, &config, "h.example").await);
    let mismatched = CertificatePair {
        certificate_pem: new.certificate_pem.clone(),
        key_pem: old.key_pem.clone(),
    };
    for bad in [
        HostCertificates {
            default: vec![mismatched],
            by_host: Vec::new(),
        },
        HostCertificates {
            default: Vec::new(),
            by_host: Vec::new(),
        },
        only(&CertificatePair {
            certificate_pem: "junk".into(),
            key_pem: old.key_pem.clone(),
        }),
    ] {
        let error = tls.reload(&bad).unwrap_err();
        assert!(!error.to_string().contains("PRIVATE"), "{error}");
        assert_eq!(
            certificate(&world, &client_config(ECDSA, &[]), "h.example").await,
            der(&old)
        );
    }
    tls.reload(&only(&new)).unwrap();
    assert_eq!(
        certificate(&world, &client_config(ECDSA, &[]), "h.example").await,
        der(&new)
    );
    assert_eq!(kept.get("/livez").await.status, 200);
}

#[tokio::test]
async fn http2_is_spoken_by_alpn_and_by_prior_knowledge() {
    let tls = tls(1);
    let secure = World::start(Limits::default(), |config| config.tls = Some(tls));
    let plain = World::start(Limits::default(), |_| {});
    let config = client_config(ECDSA, &["h2"]);
    let over_tls = connect(&secure, &config, "a.example").await;
    assert_eq!(over_tls.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    assert_eq!(ask_h2(over_tls).await, 200);
    assert_eq!(
        ask_h2(TcpStream::connect(("127.0.0.1", plain.port())).await.unwrap()).await,
        200
    );
}

async fn ask_h2<S>(stream: S) -> u16
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    let driver = tokio::spawn(connection);
    let request = http::Request::get("http://a.example/livez")
        .body(Empty::<Bytes>::new())
        .unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert!(!answer.headers().contains_key("connection"));
    let status = answer.status().as_u16();
    assert!(!answer.collect().await.unwrap().to_bytes().is_empty());
    driver.abort();
    status
}
