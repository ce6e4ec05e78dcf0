//! A TLS front of the engine, as DynamoDB has one, with a certificate of an authority of its own.

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// A running front; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Front {
    address: SocketAddr,
    /// The authority's certificate, as a file.
    authority: PathBuf,
    server: JoinHandle<()>,
}

impl Front {
    /// Starts it; the authority's certificate goes into the directory. Answers are held back for the delay.
    pub(crate) async fn start(engine: SocketAddr, directory: &Path, delay: Duration) -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut parameters = CertificateParams::new([])?;
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name = DistinguishedName::new();
        parameters.distinguished_name.push(DnType::CommonName, "The benchmark's authority");
        let authority = directory.join(format!("authority-{}.pem", delay.as_millis()));
        std::fs::write(&authority, parameters.self_signed(&key)?.pem())?;
        let issuer = Issuer::new(parameters, key);
        let key = KeyPair::generate()?;
        let own = CertificateParams::new([Ipv4Addr::LOCALHOST.to_string()])?.signed_by(&key, &issuer)?;
        let private = PrivateKeyDer::try_from(key.serialize_der()).ok().context("a private key")?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![own.der().clone()], private)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let server = tokio::spawn(async move {
            while let Ok((outer, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                // A client that ends, ends its connection: nothing to tell.
                tokio::spawn(async move { pass(outer, &acceptor, engine, delay).await });
            }
        });
        Ok(Self { address, authority, server })
    }

    /// What a program needs to reach the engine through it, each in the variable that it knows. The
    /// authority is all that programs then trust: they are spared reading the machine's many.
    pub(crate) fn environment(&self) -> [(String, String); 4] {
        let authority = self.authority.display().to_string();
        [
            ("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), format!("https://{}", self.address)),
            ("SSL_CERT_FILE".to_owned(), authority.clone()),
            ("NODE_EXTRA_CA_CERTS".to_owned(), authority.clone()),
            ("AWS_CA_BUNDLE".to_owned(), authority),
        ]
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn pass(
    outer: TcpStream,
    acceptor: &TlsAcceptor,
    engine: SocketAddr,
    delay: Duration,
) -> std::io::Result<()> {
    outer.set_nodelay(true)?;
    let mut inner = TcpStream::connect(engine).await?;
    inner.set_nodelay(true)?;
    let mut outer = acceptor.accept(outer).await?;
    if delay.is_zero() {
        tokio::io::copy_bidirectional(&mut outer, &mut inner).await?;
        return Ok(());
    }
    let (mut from_client, mut to_client) = tokio::io::split(outer);
    let (mut from_engine, mut to_engine) = inner.split();
    let asked = AtomicBool::new(false);
    let requests = async {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let length = from_client.read(&mut buffer).await?;
            if length == 0 {
                return to_engine.shutdown().await;
            }
            asked.store(true, Ordering::Relaxed);
            to_engine.write_all(&buffer[..length]).await?;
        }
    };
    let answers = async {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let length = from_engine.read(&mut buffer).await?;
            if length == 0 {
                return to_client.shutdown().await;
            }
            // The first piece of an answer.
            if asked.swap(false, Ordering::Relaxed) {
                tokio::time::sleep(delay).await;
            }
            to_client.write_all(&buffer[..length]).await?;
        }
    };
    tokio::try_join!(requests, answers)?;
    Ok(())
}
