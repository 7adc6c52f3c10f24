//! The quickstart's folder: certificates, the server's configuration, profiles for each caller.
//!
//! Made in a folder that is new or empty, so that nothing of anybody's is ever overwritten. Private
//! keys are readable by their owner only.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::certificates::{Authority, Identity};
use crate::cli::connection::ConnectionArguments;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output_file::create_private;

/// A folder with everything that a server and its callers need.
pub(super) struct Folder {
    path: PathBuf,
    listen: SocketAddr,
}

/// A caller of the quickstart: its name, and the roles that it is given.
pub(super) struct Caller {
    /// The last segment of its SPIFFE id, and the name of its files.
    pub(super) name: &'static str,
    /// None implies another.
    pub(super) roles: &'static [&'static str],
    /// Whose it is: each tenant has a trust domain and an authority of its own.
    pub(super) tenant: &'static str,
}

/// Everybody who has a certificate.
pub(super) const CALLERS: [Caller; 6] = [
    Caller { name: "operator", roles: &["key-manager", "operator"], tenant: OWN },
    Caller { name: "app", roles: &["key-user"], tenant: OWN },
    Caller { name: "rewrapper", roles: &["key-rewrapper"], tenant: OWN },
    Caller { name: "auditor", roles: &["auditor"], tenant: OWN },
    Caller { name: "neighbour", roles: &["key-user"], tenant: NEXT_DOOR },
    Caller { name: "neighbours-auditor", roles: &["auditor"], tenant: NEXT_DOOR },
];

/// Who the caller of this name is.
pub(super) fn spiffe_id(name: &str) -> String {
    CALLERS.iter().find(|caller| caller.name == name).map(Caller::spiffe_id).unwrap_or_default()
}

// === impl Caller ===

impl Caller {
    /// Who it is.
    pub(super) fn spiffe_id(&self) -> String {
        format!("spiffe://{}.bulla/{}", self.tenant, self.name)
    }
}

// === impl Folder ===

impl Folder {
    /// Makes the folder and its files. `listen` is where the server will listen.
    pub(super) fn create(path: &Path, listen: SocketAddr) -> Result<Self, Failure> {
        claim(path)?;
        let path = path.canonicalize().map_err(|error| Failure::output(path, &error))?;
        let folder = Self { path, listen };
        folder.make("tls")?;
        folder.make("clients")?;
        let servers = Authority::new("bulla quickstart servers")?;
        folder.write("tls/servers-ca.pem", servers.pem())?;
        folder.write_identity("tls/server", &servers.server()?)?;
        for tenant in TENANTS {
            let clients = Authority::new(&format!("bulla {tenant} clients"))?;
            folder.write(&format!("tls/{tenant}-ca.pem"), clients.pem())?;
            for caller in CALLERS.iter().filter(|caller| caller.tenant == tenant) {
                let identity = clients.client(&caller.spiffe_id())?;
                folder.write_identity(&format!("clients/{}", caller.name), &identity)?;
                folder.write(&format!("{}.toml", caller.name), &folder.profile(caller))?;
            }
        }
        folder.write("bulla.toml", &folder.configuration())?;
        folder.write("customers.connector.toml", CONNECTOR)?;
        Ok(folder)
    }

    /// Absolute.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A file in the folder.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The server's configuration file.
    pub(super) fn configuration_file(&self) -> PathBuf {
        self.file("bulla.toml")
    }

    /// Lets the server's clock be ahead of this machine's, from now on.
    pub(super) fn set_clock_ahead(&self, ahead_ms: u64) -> Result<(), Failure> {
        let path = self.file("clock-ahead");
        fs::write(&path, format!("{ahead_ms}\n")).map_err(|error| Failure::output(&path, &error))
    }

    /// What the server and its initialisation say.
    pub(super) fn log_file(&self) -> PathBuf {
        self.file("server.log")
    }

    /// Where the server listens, as a client names it.
    pub(super) fn server(&self) -> String {
        format!("https://{}", self.listen)
    }

    /// How the caller of this name connects.
    pub(super) fn connection(&self, name: &str) -> ConnectionArguments {
        ConnectionArguments {
            keep_receipts: None,
            server: Some(self.server()),
            ca: Some(self.file("tls/servers-ca.pem")),
            certificate: Some(self.file(&format!("clients/{name}.pem"))),
            key_file: Some(self.file(&format!("clients/{name}.key"))),
            profile: None,
            token_file: None,
            approval: None,
        }
    }

    /// A new file that its owner alone may read.
    pub(super) fn write(&self, name: &str, content: &str) -> Result<(), Failure> {
        let path = self.file(name);
        create_private(&path)
            .and_then(|mut file| file.write_all(content.as_bytes()))
            .map_err(|error| Failure::output(&path, &error))
    }

    fn write_identity(&self, name: &str, identity: &Identity) -> Result<(), Failure> {
        self.write(&format!("{name}.pem"), &identity.certificate)?;
        self.write(&format!("{name}.key"), &identity.key)
    }

    fn make(&self, name: &str) -> Result<(), Failure> {
        let path = self.file(name);
        private_folder(&path).map_err(|error| Failure::output(&path, &error))
    }

    fn profile(&self, caller: &Caller) -> String {
        format!(
            "# bulla --profile {name}.toml: {id}, {roles}\n\
             server = \"{server}\"\n\
             ca = \"tls/servers-ca.pem\"\n\
             certificate = \"clients/{name}.pem\"\n\
             key_file = \"clients/{name}.key\"\n",
            name = caller.name,
            id = caller.spiffe_id(),
            roles = caller.roles.join(" and "),
            server = self.server(),
        )
    }

    fn configuration(&self) -> String {
        let base = format!(
            "environment = \"development\"\n\
             listen = \"{listen}\"\n\
             data_directory = \"data\"\n\
             # Milliseconds that this demo's clock is ahead: the tour moves it.\n\
             clock_ahead_file = \"clock-ahead\"\n\
             \n\
             [tls]\n\
             certificate_file = \"tls/server.pem\"\n\
             key_file = \"tls/server.key\"\n\
             \n\
             [audit]\n\
             # Two of these are on the disk from the beginning.\n\
             segment_bytes = 8388608\n\
             \n\
             [seal]\n\
             key_file = \"root.key\"\n",
            listen = self.listen,
        );
        let domain = |tenant: &str| {
            format!(
                "\n[[trust_domains]]\n\
                 name = \"{tenant}.bulla\"\n\
                 ca_file = \"tls/{tenant}-ca.pem\"\n\
                 tenant = \"{tenant}\"\n"
            )
        };
        std::iter::once(base).chain(TENANTS.into_iter().map(domain)).collect()
    }
}

/// Where the agent finds the table's blobs, and what each was bound to.
const CONNECTOR: &str = "\
# bulla rewrap run --connector customers.connector.toml
[sqlite]
file = \"customers.db\"
table = \"customers\"
column = \"dek\"

[sqlite.context]
table = { value = \"customers\" }
";

/// Makes the folder, or takes one that is there and empty.
fn claim(path: &Path) -> Result<(), Failure> {
    match private_folder(path) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(Failure::output(path, &error)),
    }
    let mut entries = fs::read_dir(path).map_err(|error| Failure::output(path, &error))?;
    if entries.next().is_none() {
        return Ok(());
    }
    let failure =
        Failure::new(Exit::CannotCreate, format!("the folder {} is not empty", path.display()));
    Err(if path.join("server.pid").exists() {
        failure.hint(format!(
            "it is of an earlier quickstart: end its server with kill $(cat {0}/server.pid) and \
             remove the folder, or choose another with --dir",
            path.display()
        ))
    } else {
        failure.hint("choose another with --dir")
    })
}

fn private_folder(path: &Path) -> std::io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(path)
}

/// The tenant of the tour, and another that must get nothing of it.
const OWN: &str = "quickstart";
const NEXT_DOOR: &str = "next-door";
const TENANTS: [&str; 2] = [OWN, NEXT_DOOR];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn listen() -> SocketAddr {
        "127.0.0.1:8443".parse().unwrap()
    }

    #[test]
    fn i05_only_the_owner_may_read_what_the_quickstart_makes() {
        let above = tempfile::tempdir().unwrap();
        let folder = Folder::create(&above.path().join("demo"), listen()).unwrap();
        let mut keys = 0;
        for place in ["", "tls", "clients"] {
            for entry in fs::read_dir(folder.file(place)).unwrap() {
                let entry = entry.unwrap();
                let mode = entry.metadata().unwrap().permissions().mode();
                assert_eq!(mode & 0o077, 0, "{:?}", entry.path());
                keys += usize::from(entry.path().extension().is_some_and(|e| e == "key"));
            }
        }
        assert_eq!(keys, 1 + CALLERS.len(), "a key for the server and each caller, none for a CA");
    }

    #[test]
    fn a_folder_with_anything_in_it_is_left_alone() {
        let above = tempfile::tempdir().unwrap();
        fs::write(above.path().join("mine"), "x").unwrap();
        let failure = Folder::create(above.path(), listen()).map(|_| ()).unwrap_err();
        assert_eq!(failure.exit(), Exit::CannotCreate);
        assert_eq!(fs::read_dir(above.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_is_empty_is_taken() {
        let above = tempfile::tempdir().unwrap();
        assert!(Folder::create(above.path(), listen()).is_ok());
    }

    #[test]
    fn the_profiles_are_ones_that_the_program_reads() {
        let above = tempfile::tempdir().unwrap();
        let folder = Folder::create(above.path(), listen()).unwrap();
        for caller in &CALLERS {
            let path = folder.file(&format!("{}.toml", caller.name));
            assert!(crate::cli::connection::Profile::read(&path).is_ok());
        }
        let configuration = fs::read_to_string(folder.configuration_file()).unwrap();
        assert!(configuration.parse::<toml::Table>().is_ok());
    }
}
