//! TLS of a connection: rustls with ring.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rumqttc::TlsConfiguration;
use rustls::client::ResolvesClientCert;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};
use telemetry::text::{Text, say};

use super::config::{ClientCertificate, TlsFiles};

/// Why a consumer cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetUpError {
    /// A file does not hold what it should, or cannot be read.
    #[error("read {} as PEM", file.display())]
    Pem {
        /// Which file.
        file: PathBuf,
        /// What the reader said.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// A file holds no certificate that can be used.
    #[error("find a certificate in {}", file.display())]
    NoCertificate {
        /// Which file.
        file: PathBuf,
    },
    /// The system's certificate authorities cannot be read.
    #[error("load the system's certificate authorities")]
    SystemRoots(#[source] Box<rumqttc::TlsError>),
    /// Certificate and key do not belong together, or are of a kind that is not supported.
    #[error("use the client certificate")]
    Certificate(#[source] Box<rustls::Error>),
}

impl SetUpError {
    /// Returns what to tell the user.
    #[must_use]
    pub fn text(&self) -> Text {
        match self {
            Self::Pem { file, source } => {
                say("ingest.mqtt.tls_file", &[("file", &file.display()), ("error", source)])
            }
            Self::NoCertificate { file } => {
                say("ingest.mqtt.tls_no_certificate", &[("file", &file.display())])
            }
            Self::SystemRoots(error) => say("ingest.mqtt.tls_roots", &[("error", error)]),
            Self::Certificate(error) => say("ingest.mqtt.tls_certificate", &[("error", error)]),
        }
    }
}

/// Reads the files and makes the client's side of TLS.
///
/// # Errors
///
/// [`SetUpError`] for a file that cannot be used.
pub fn client_config(files: &TlsFiles) -> Result<Arc<ClientConfig>, SetUpError> {
    let mut config = match &files.ca_file {
        Some(file) => trusting(file)?,
        None => trusting_the_system()?,
    };
    if let Some(client) = &files.client {
        config.client_auth_cert_resolver = certificate(client)?;
    }
    Ok(Arc::new(config))
}

fn trusting(file: &Path) -> Result<ClientConfig, SetUpError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates(file)?);
    if roots.is_empty() {
        return Err(SetUpError::NoCertificate { file: file.to_owned() });
    }
    Ok(ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

fn trusting_the_system() -> Result<ClientConfig, SetUpError> {
    store::install_tls_provider();
    match TlsConfiguration::try_default_rustls() {
        Ok(TlsConfiguration::Rustls(config)) => Ok(ClientConfig::clone(&config)),
        Ok(TlsConfiguration::Simple { .. }) => Err(SetUpError::SystemRoots(Box::new(
            rumqttc::TlsError::UnsupportedBackendConfiguration,
        ))),
        Err(error) => Err(SetUpError::SystemRoots(Box::new(error))),
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, SetUpError> {
    CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|source| SetUpError::Pem { file: file.to_owned(), source })
}

fn certificate(files: &ClientCertificate) -> Result<Arc<dyn ResolvesClientCert>, SetUpError> {
    let chain = certificates(&files.cert_file)?;
    if chain.is_empty() {
        return Err(SetUpError::NoCertificate { file: files.cert_file.clone() });
    }
    let key = PrivateKeyDer::from_pem_file(&files.key_file)
        .map_err(|source| SetUpError::Pem { file: files.key_file.clone(), source })?;
    let key = CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(unusable)?;
    Ok(Arc::new(SingleCertAndKey::from(key)))
}

fn unusable(error: rustls::Error) -> SetUpError {
    SetUpError::Certificate(Box::new(error))
}
