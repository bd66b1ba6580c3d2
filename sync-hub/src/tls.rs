//! TLS, where the hub is given a certificate.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use tokio_rustls::TlsAcceptor;

/// Why a certificate is of no use.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file has no certificates, or no key, in PEM.
    #[error("{} is no {what} in PEM: {error}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What was expected.
        what: &'static str,
        /// Why it is not.
        error: rustls::pki_types::pem::Error,
    },
    /// The two do not belong together, or are of no known kind.
    #[error("the certificate {} and the key {} cannot be used: {error}", certificate.display(), key.display())]
    Refused {
        /// The file with the certificates.
        certificate: PathBuf,
        /// The file with the key.
        key: PathBuf,
        /// Why.
        error: rustls::Error,
    },
}

/// A certificate with its key.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ServerConfig>,
}

/// Without the key.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads a file with a certificate and those that vouch for it, the server's own first, and one with its
    /// key, both in PEM. TLS 1.2 and 1.3 are spoken.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let unreadable = |path: &Path, what| {
            let path = path.to_owned();
            move |error| TlsError::Unreadable { path, what, error }
        };
        let chain = CertificateDer::pem_file_iter(certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .and_then(|chain| match chain[..] {
                [] => Err(rustls::pki_types::pem::Error::NoItemsFound),
                [..] => Ok(chain),
            })
            .map_err(unreadable(certificate, "certificate"))?;
        let private = PrivateKeyDer::from_pem_file(key).map_err(unreadable(key, "private key"))?;
        let config = ServerConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .and_then(|config| config.with_no_client_auth().with_single_cert(chain, private));
        let mut config = config.map_err(|error| TlsError::Refused {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            error,
        })?;
        // WebSockets are of version 1.1 (RFC 6455).
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: config.into() })
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.config.clone().into()
    }
}
