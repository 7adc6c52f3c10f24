//! A real PostgreSQL: a cluster in a folder of its own, on a Unix socket and a loopback port, run by a
//! user that may do nothing else. Without PostgreSQL a test fails and says what to install.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use tokio_postgres::{Client, Config, NoTls};

/// A cluster that runs.
pub(crate) struct Cluster {
    folder: tempfile::TempDir,
    port: u16,
    arguments: Vec<String>,
    process: Mutex<Option<Child>>,
}

/// A database of its own in a cluster.
pub(crate) struct Database {
    cluster: Arc<Cluster>,
    name: String,
}

impl Cluster {
    /// The cluster of all tests that run now. The last of them stops it.
    fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(|broken| broken.into_inner());
        shared.upgrade().unwrap_or_else(|| {
            let cluster = Arc::new(Self::start(&["-F"]));
            *shared = Arc::downgrade(&cluster);
            cluster
        })
    }

    /// A new cluster, with more arguments for the server.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("bulla-pg-").tempdir_in("/tmp").unwrap();
        let owner = unprivileged();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let (data, socket) = (folder.path().join("data"), folder.path().join("socket"));
        fs::create_dir(&socket).unwrap();
        let password = folder.path().join("password");
        fs::write(&password, format!("{PASSWORD}\n")).unwrap();
        for path in [folder.path(), &socket, &password] {
            give(path, owner);
        }
        let mut initdb = run_as(owner, "initdb", folder.path());
        initdb.arg("-D").arg(&data).arg("--pwfile").arg(&password);
        initdb.args(["-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]);
        initdb.args(["--auth-local=trust", "--auth-host=scram-sha-256"]);
        let made = initdb.output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let certificate = crate::server::Authority::new("database authority");
        certificate.server_certificate().write(&data.join("server"));
        fs::rename(data.join("server.pem"), data.join("server.crt")).unwrap();
        fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        give(&data.join("server.crt"), owner);
        give(&data.join("server.key"), owner);

        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let cluster = Self { folder, port, arguments, process: Mutex::new(None) };
        cluster.go_on();
        cluster
    }

    /// Starts what was stopped, and waits until it takes connections.
    pub(crate) fn go_on(&self) {
        let folder = self.folder.path();
        let mut server = run_as(unprivileged(), "postgres", folder);
        server.arg("-D").arg(folder.join("data")).arg("-k").arg(self.socket());
        server.arg("-p").arg(self.port.to_string());
        server.args(["-c", "listen_addresses=127.0.0.1,127.0.0.2", "-c", "ssl=on", "-N", "60"]);
        let log = fs::File::options().create(true).append(true).open(folder.join("log")).unwrap();
        server.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut process = server.spawn().unwrap();
        self.wait(&mut process);
        *self.process.lock().unwrap() = Some(process);
    }

    /// Asks nobody for a password any more, also over TLS.
    pub(crate) fn trust_everybody(&self) {
        self.stop();
        let rules = "local all all trust\nhostssl all all all trust\n";
        fs::write(self.folder.path().join("data/pg_hba.conf"), rules).unwrap();
        self.go_on();
    }

    /// Fast shutdown: every connection is cut, every open transaction is gone.
    pub(crate) fn stop(&self) {
        let mut process = self.process.lock().unwrap().take().unwrap();
        let pid = rustix::process::Pid::from_child(&process);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        assert!(process.wait().unwrap().success());
    }

    fn wait(&self, process: &mut Child) {
        let pid_file = self.folder.path().join("data/postmaster.pid");
        let began = Instant::now();
        // The last line of the file says how it stands.
        while !fs::read_to_string(&pid_file).unwrap_or_default().contains("ready") {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            let ended = process.try_wait().unwrap();
            assert!(ended.is_none() && began.elapsed() < PATIENCE, "{ended:?}: {log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The directory of its socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// The authority of its certificate, which is for `localhost`.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    async fn connect(&self, database: &str) -> Client {
        let mut config = Config::new();
        config.host_path(self.socket()).port(self.port).user("postgres").dbname(database);
        let (client, connection) = config.connect(NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let process = self.process.lock().unwrap_or_else(|broken| broken.into_inner()).take();
        let Some(mut process) = process else { return };
        let pid = rustix::process::Pid::from_child(&process);
        // At once; what is in the folder goes with it.
        rustix::process::kill_process(pid, rustix::process::Signal::QUIT).unwrap();
        process.wait().unwrap();
    }
}

impl Database {
    /// A new, empty database.
    pub(crate) async fn new() -> Self {
        Self::within(Cluster::shared()).await
    }

    pub(crate) async fn within(cluster: Arc<Cluster>) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("db{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let postgres = cluster.connect("postgres").await;
        postgres.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
        Self { cluster, name }
    }

    /// A connection of the superuser.
    pub(crate) async fn connect(&self) -> Client {
        self.cluster.connect(&self.name).await
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The beginning of a connector file: how to get here by the socket, as the superuser.
    pub(crate) fn connector(&self) -> String {
        format!(
            "[postgresql]\nhost = {:?}\nport = {}\ndatabase = {:?}\nuser = \"postgres\"\n",
            self.cluster.socket(),
            self.cluster.port,
            self.name
        )
    }
}

/// The superuser's password, asked for on TCP only.
pub(crate) const PASSWORD: &str = "a pass phrase of the tests";

/// Longer than any start takes.
const PATIENCE: Duration = Duration::from_secs(60);

type Owner = Option<(u32, u32)>;

/// Whom to run as: PostgreSQL refuses to be run by root.
fn unprivileged() -> Owner {
    if !rustix::process::getuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let find = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut ids = line.split(':').skip(2).map(|id| id.parse().unwrap());
        Some((ids.next()?, ids.next()?))
    };
    Some(find("postgres").or_else(|| find("nobody")).expect("a user postgres or nobody"))
}

fn give(path: &Path, owner: Owner) {
    if let Some((user, group)) = owner {
        chown(path, Some(user), Some(group)).unwrap();
    }
}

fn run_as(owner: Owner, program: &str, folder: &Path) -> Command {
    let mut command = Command::new(find(program));
    command.current_dir(folder).env_remove("PGDATA");
    if let Some((user, group)) = owner {
        command.uid(user).gid(group);
    }
    command
}

/// A program of PostgreSQL's server.
fn find(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.push("/usr/local/bin".into());
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    folders.extend(versions.map(|version| version.unwrap().path().join("bin")));
    let found = folders.iter().map(|folder| folder.join(program)).find(|path| path.exists());
    found.unwrap_or_else(|| {
        panic!(
            "no {program} on this machine; run `make postgres`, or install postgresql (12 or newer)"
        )
    })
}
