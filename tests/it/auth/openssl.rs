//! A certificate authority that is the openssl program: its certificates and revocation lists are not
//! made by the code that reads them here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An authority in a folder of its own.
pub(crate) struct OpenSsl(PathBuf);

impl OpenSsl {
    pub(crate) fn authority(folder: PathBuf) -> Self {
        fs::create_dir(&folder).unwrap();
        // A list is found by the name of its authority, so that two need two.
        let name = format!("/CN={}", folder.file_name().unwrap().display());
        let authority = Self(folder);
        authority.write("index", "");
        authority.write("serial", "01\n");
        authority.write("crlnumber", "01\n");
        authority.write(
            "ca.cnf",
            "[ca]\ndefault_ca = own\n[own]\ndatabase = index\nserial = serial\ncrlnumber = crlnumber\n\
             new_certs_dir = .\ncertificate = ca.pem\nprivate_key = ca.key\ndefault_md = sha256\n\
             policy = any\ncopy_extensions = none\nunique_subject = no\n[any]\ncommonName = supplied\n\
             [authority]\nbasicConstraints = critical,CA:true\nkeyUsage = keyCertSign,cRLSign\n",
        );
        authority.run(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
            "-days",
            "30",
            "-subj",
            &name,
            "-extensions",
            "authority",
            "-config",
            "ca.cnf",
        ]);
        authority.list(30);
        authority
    }

    /// A client's certificate and key, as `path.pem` and `path.key`.
    pub(crate) fn client(&self, name: &str, uri: &str, path: &Path) {
        let (key, request) = (format!("{name}.key"), format!("{name}.csr"));
        self.run(&[
            "req",
            "-new",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            &key,
            "-out",
            &request,
            "-subj",
            &format!("/CN={name}"),
        ]);
        let extensions = format!("{name}.ext");
        self.write(
            &extensions,
            &format!("subjectAltName = URI:{uri}\nextendedKeyUsage = clientAuth\nbasicConstraints = CA:false\n"),
        );
        let certificate = format!("{name}.pem");
        self.run(&[
            "ca",
            "-batch",
            "-notext",
            "-config",
            "ca.cnf",
            "-in",
            &request,
            "-out",
            &certificate,
            "-days",
            "20",
            "-extfile",
            &extensions,
        ]);
        fs::copy(self.path(&certificate), path.with_extension("pem")).unwrap();
        fs::copy(self.path(&key), path.with_extension("key")).unwrap();
    }

    /// Revokes what [`OpenSsl::client`] made, and makes a new list.
    pub(crate) fn revoke(&self, name: &str) {
        self.run(&["ca", "-config", "ca.cnf", "-revoke", &format!("{name}.pem")]);
        self.list(30);
    }

    /// Makes a list that is good for so many days.
    pub(crate) fn list(&self, days: u32) {
        let days = days.to_string();
        self.run(&["ca", "-config", "ca.cnf", "-gencrl", "-crldays", &days, "-out", "crl.pem"]);
    }

    /// Makes a list that is good for so many seconds.
    pub(crate) fn short_list(&self, seconds: u32) {
        let seconds = seconds.to_string();
        self.run(&["ca", "-config", "ca.cnf", "-gencrl", "-crlsec", &seconds, "-out", "crl.pem"]);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn run(&self, arguments: &[&str]) {
        let output = Command::new("openssl").current_dir(&self.0).args(arguments).output();
        let output = output.expect("install openssl");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {arguments:?}: {said}");
    }
}
