//! TLS of the listener: rustls with ring; client certificates are verified before MQTT begins.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use x509_cert::Certificate;
use x509_cert::der::asn1::{Ia5StringRef, PrintableStringRef, Utf8StringRef};
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{Decode, Tag, Tagged};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use super::config::{ServerTls, SetUpError};

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// Reads the files and makes the server's side of TLS. `or_password`: a client may do without a certificate.
pub(crate) fn server_config(
    files: &ServerTls,
    or_password: bool,
) -> Result<Arc<ServerConfig>, SetUpError> {
    let provider = Arc::new(ring::default_provider());
    let unusable = |file: &Path| {
        let file = file.to_owned();
        move |source| SetUpError::Certificate { file, source }
    };
    let chain = certificates(&files.cert_file)?;
    let key = PrivateKeyDer::from_pem_file(&files.key_file).map_err(|source| SetUpError::Pem {
        file: files.key_file.clone(),
        source: Box::new(source),
    })?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(Into::into)
        .map_err(unusable(&files.cert_file))?;
    let builder = match &files.client_ca_file {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(certificates(file)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = if or_password { verifier.allow_unauthenticated() } else { verifier };
            let verifier = verifier.build().map_err(Into::into).map_err(unusable(file))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let config = builder.with_single_cert(chain, key).map_err(Into::into);
    config.map(Arc::new).map_err(unusable(&files.cert_file))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, SetUpError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    let found = found
        .map_err(|source| SetUpError::Pem { file: file.to_owned(), source: Box::new(source) })?;
    if found.is_empty() {
        return Err(SetUpError::NoCertificate { file: file.to_owned() });
    }
    Ok(found)
}

/// Returns the name in a verified certificate: its common name, or else its first DNS name.
pub(crate) fn name_in(certificate: &[u8]) -> Option<String> {
    let certificate = Certificate::from_der(certificate).ok()?.tbs_certificate;
    let attributes = certificate.subject.0.iter().flat_map(|names| names.0.iter());
    let common =
        attributes.filter(|attribute| attribute.oid == COMMON_NAME).find_map(|attribute| {
            let value = &attribute.value;
            let tag = value.tag();
            if tag == Tag::Utf8String {
                Some(value.decode_as::<Utf8StringRef<'_>>().ok()?.to_string())
            } else if tag == Tag::PrintableString {
                Some(value.decode_as::<PrintableStringRef<'_>>().ok()?.to_string())
            } else {
                Some(value.decode_as::<Ia5StringRef<'_>>().ok()?.to_string())
            }
        });
    common.or_else(|| {
        let (_, names) = certificate.get::<SubjectAltName>().ok()??;
        names.0.iter().find_map(|name| {
            if let GeneralName::DnsName(name) = name { Some(name.to_string()) } else { None }
        })
    })
}
