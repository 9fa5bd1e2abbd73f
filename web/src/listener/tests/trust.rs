//! Whom a listener believes.

use tokio::net::UnixStream;

use crate::Limits;
use crate::listener::{Address, ProxyProtocol};
use crate::origin::Surface;
use crate::testing::{Client, World};

#[tokio::test]
async fn plain_on_an_outside_address_answers_trusted_peers_only() {
    let everywhere: Address = "0.0.0.0:0".parse().unwrap();
    let strict = World::on(everywhere.clone(), Limits::default(), |_| {});
    let seen = strict.connect().await.receive().await;
    assert_eq!((seen.status, seen.code().as_str()), (403, "peer.forbidden"));
    strict.cut_for("peer_forbidden").await;
    let trusting = World::on(everywhere, Limits::default(), |config| {
        config.trusted_peers = vec!["127.0.0.1/32".parse().unwrap()];
    });
    assert_eq!(trusting.connect().await.get("/livez").await.status, 200);
}

#[tokio::test]
async fn proxy_headers_are_taken_from_trusted_peers_and_required() {
    let proxied = |version, peers: &'static str| {
        World::start(Limits::default(), move |config| {
            config.proxy_protocol = version;
            config.trusted_peers = vec![peers.parse().unwrap()];
        })
    };
    let v1 = proxied(ProxyProtocol::V1, "127.0.0.1");
    let mut client = v1.connect().await;
    client.send("PROXY TCP4 192.0.2.7 10.0.0.1 40000 443\r\n").await;
    assert_eq!(client.get("/livez").await.status, 200);
    let mut bare = v1.connect().await;
    bare.send("GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(bare.try_receive().await.is_none());
    v1.cut_for("proxy_header_bad").await;

    let v2 = proxied(ProxyProtocol::V2, "127.0.0.1");
    let mut client = v2.connect().await;
    let head = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\x0a\0\0\x01\x9c\x40\x01\xbb";
    client
        .send([head.as_slice(), b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n"].concat())
        .await;
    assert_eq!(client.receive().await.status, 200);

    let foreign = proxied(ProxyProtocol::V1, "10.0.0.0/8");
    let mut client = foreign.connect().await;
    assert_eq!(client.receive().await.code(), "peer.forbidden");
}

#[tokio::test]
async fn the_unix_socket_offers_the_admin_surface_to_its_owner() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    let world = World::on(Address::Unix(path.clone()), Limits::default(), |config| {
        config.surfaces = vec![Surface::Admin, Surface::Ops];
    });
    let mut client = Client::new(UnixStream::connect(&path).await.unwrap());
    assert_eq!(client.get("/admin/v1/status").await.json()["role"], "primary");
    assert_eq!(client.get("/sdk/v1/sessions").await.code(), "route.unknown");
    let document = client.get("/openapi.json").await.json();
    assert!(document["paths"]["/admin/v1/realms"].is_object() && document["paths"]["/sdk/v1/sessions"].is_null());
    drop(world);
}
