//! A certificate authority of one's own.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// A certificate authority with its files in a folder.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
}

/// A certificate and its key, as files in PEM form.
pub struct Certified {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    /// Makes one with its files in `folder`, which it makes.
    pub fn new(folder: &Path) -> Self {
        fs::create_dir_all(folder).unwrap();
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Two of one name would be taken for one with a wrong signature.
        let name = folder.file_name().unwrap().to_str().unwrap();
        parameters.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
        let authority = Self {
            issuer,
            folder: folder.to_owned(),
        };
        fs::write(authority.certificate(), authority.issuer.pem()).unwrap();
        authority
    }

    /// Its own certificate, as a file in PEM form.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// Issues a certificate for a host.
    pub fn issue(&self, host: &str) -> Certified {
        self.issue_for(&[host])
    }

    /// Issues a certificate for several hosts, whose files have the name of the first.
    pub fn issue_for(&self, hosts: &[&str]) -> Certified {
        let host = hosts[0];
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let parameters = CertificateParams::new(names).unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        let issued = Certified {
            certificate: self.folder.join(format!("{host}.crt")),
            key: self.folder.join(format!("{host}.key")),
        };
        fs::write(&issued.certificate, certificate.pem()).unwrap();
        fs::write(&issued.key, key.serialize_pem()).unwrap();
        issued
    }
}
