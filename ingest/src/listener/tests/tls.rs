//! TLS and client certificates, made here.

use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::super::tls::name_in;
use super::super::{ListenerConfig, ServerTls};
use super::rig::{connect3, connect5, five, publish5, three};
use super::tcp::{Running, answer, config, start};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate and its key; without a common name where it is empty.
fn issue(authority: &Authority, common_name: &str, dns: &str) -> (rcgen::Certificate, KeyPair) {
    let mut params = CertificateParams::new(vec![dns.to_owned()]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    if !common_name.is_empty() {
        params.distinguished_name.push(DnType::CommonName, common_name);
    }
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, authority).unwrap(), key)
}

fn files(folder: &Path, authority: &Authority, with_clients: bool) -> ServerTls {
    let (certificate, key) = issue(authority, "server", "localhost");
    let write = |name: &str, text: String| {
        let file = folder.join(name);
        std::fs::write(&file, text).unwrap();
        file
    };
    ServerTls {
        cert_file: write("cert.pem", certificate.pem()),
        key_file: write("key.pem", key.serialize_pem()),
        client_ca_file: with_clients.then(|| write("ca.pem", authority.pem())),
    }
}

async fn connect(
    running: &Running,
    authority: &Authority,
    client: Option<(rcgen::Certificate, KeyPair)>,
) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match client {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
            let chain: Vec<CertificateDer<'static>> = vec![certificate.der().clone()];
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let socket = TcpStream::connect(running.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, socket).await.unwrap()
}

#[tokio::test]
async fn a_publish_over_tls_is_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let authority = authority();
    let tls = Some(files(folder.path(), &authority, false));
    let mut running = start(ListenerConfig { tls, ..config() }).await;
    let mut stream = connect(&running, &authority, None).await;
    stream.write_all(&three(connect3("c").into())).await.unwrap();
    assert_eq!(answer(&mut stream, 4).await, [0x20, 2, 0, 0]);
    stream.write_all(&super::rig::publish3("any", 1, 7)).await.unwrap();
    let batch = running.batch().await;
    running.acknowledge(&batch);
    assert_eq!(answer(&mut stream, 4).await, [0x40, 2, 0, 7]);
}

/// The certificate says who it is: it publishes its own topics alone, and nobody gets in without one of our authority.
#[tokio::test]
async fn a_client_certificate_is_an_identity() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, foreign) = (authority(), authority());
    let tls = Some(files(folder.path(), &ours, true));
    let mut running = start(ListenerConfig { tls, ..config() }).await;
    let mut stream = connect(&running, &ours, Some(issue(&ours, "d", "x.example"))).await;
    stream.write_all(&five(connect5("c").into())).await.unwrap();
    let connack = answer(&mut stream, 2).await;
    let connack = answer(&mut stream, connack[1].into()).await;
    assert_eq!(connack[1], 0);
    stream.write_all(&[publish5("up/e", 1, 1), publish5("up/d", 1, 2)].concat()).await.unwrap();
    let batch = running.batch().await;
    assert_eq!(batch.uplinks().len(), 1);
    running.acknowledge(&batch);
    assert_eq!(answer(&mut stream, 10).await, [0x40, 4, 0, 1, 0x87, 0, 0x40, 2, 0, 2]);

    for client in [None, Some(issue(&foreign, "d", "x.example"))] {
        let mut stream = connect(&running, &ours, client).await;
        drop(stream.write_all(&five(connect5("c").into())).await);
        let mut answer = Vec::new();
        let ended = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer).await;
        assert!(ended.is_err() && answer.is_empty(), "refused in the handshake: {answer:x?}");
    }
}

#[test]
fn the_name_of_a_certificate_is_its_common_name_or_else_its_dns_name() {
    let authority = authority();
    for (common_name, expected) in [("farm/田-1", "farm/田-1"), ("", "d.example")] {
        let (certificate, _) = issue(&authority, common_name, "d.example");
        assert_eq!(name_in(certificate.der()).as_deref(), Some(expected));
    }
    assert_eq!(name_in(b"no certificate"), None);
}
