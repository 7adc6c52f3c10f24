//! The program: `bulla serve` and what an operator does around it, and the tool that talks to it.

// By its path, so that a program of the tests that takes this file in finds it too.
#[path = "program/export.rs"]
mod export;
#[path = "program/rewrap.rs"]
mod rewrap;
#[path = "program/verify.rs"]
mod verify;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bulla::cli::{self, AuditCommand, Exit};
use bulla::config::Config;
use bulla::server::{self, Bindings, InitOptions, ServeOptions, ServerError};
use clap::{CommandFactory, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// A key management service for envelope encryption that can finish a rotation
#[derive(Parser)]
#[command(name = "bulla", version, after_help = cli::EXIT_CODES)]
struct Program {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    connection: cli::ConnectionArguments,
    #[command(flatten)]
    output: cli::OutputArguments,
}

#[derive(Subcommand)]
enum Command {
    /// Make an installation: key file, store, tenants, audit log, first roles
    Init {
        /// The configuration file
        #[arg(long, value_name = "FILE", env = "BULLA_CONFIG")]
        config: PathBuf,
        /// Make the key file too; otherwise it must be there
        #[arg(long)]
        make_key_file: bool,
        /// A role to give, such as spiffe://example.org/app=key-user
        #[arg(long, value_name = "PRINCIPAL=ROLE")]
        bind: Vec<String>,
    },
    /// Serve
    Serve {
        /// The configuration file
        #[arg(long, value_name = "FILE", env = "BULLA_CONFIG")]
        config: PathBuf,
        /// Begin a new audit log where the old one is missing
        #[arg(long)]
        new_audit_log: bool,
        /// A first role, for a store in memory only
        #[arg(long, value_name = "PRINCIPAL=ROLE")]
        bind: Vec<String>,
    },
    /// Give roles while no server runs, with the key file in hand
    Bind {
        /// The configuration file
        #[arg(long, value_name = "FILE", env = "BULLA_CONFIG")]
        config: PathBuf,
        /// A role to give, such as spiffe://example.org/app=key-user
        #[arg(required = true, value_name = "PRINCIPAL=ROLE")]
        bind: Vec<String>,
    },
    /// Say whether an installation would start here, without starting it
    Check {
        /// The configuration file
        #[arg(long, value_name = "FILE", env = "BULLA_CONFIG")]
        config: PathBuf,
    },
    /// Change the key that signs the audit log's checkpoints, while no server runs
    RotateAuditKey {
        /// The configuration file
        #[arg(long, value_name = "FILE", env = "BULLA_CONFIG")]
        config: PathBuf,
    },
    /// Move blobs from old versions of a key to the new one, beside the data
    Rewrap {
        #[command(subcommand)]
        command: rewrap::RewrapCommand,
    },
    #[command(flatten)]
    Remote(cli::Command),
}

/// The program, from its arguments to its exit code.
pub(crate) fn run() -> ExitCode {
    let program = match cli::parse::<Program>() {
        Ok(program) => program,
        Err(exit) => return exit,
    };
    let done = match program.command {
        Command::Remote(cli::Command::Audit { command: AuditCommand::Verify(arguments) })
            if arguments.directory.is_some() =>
        {
            return verify::run(arguments, program.output);
        }
        Command::Remote(cli::Command::Audit { command: AuditCommand::Export(arguments) })
            if arguments.directory.is_some() =>
        {
            return export::run(*arguments);
        }
        Command::Remote(command) => {
            let all = Program::command();
            return cli::run(command, program.connection, program.output, all);
        }
        Command::Rewrap { command } => {
            return command.run(program.connection, program.output);
        }
        Command::Init { config, make_key_file, bind } => init(&config, make_key_file, &bind),
        Command::Serve { config, new_audit_log, bind } => serve(&config, new_audit_log, &bind),
        Command::Bind { config, bind } => give(&config, &bind),
        Command::RotateAuditKey { config } => rotate_audit_key(&config),
        Command::Check { config } => return check(&config),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => told(&error),
    }
}

fn init(config: &Path, make_key_file: bool, bind: &[String]) -> Result<(), ServerError> {
    log_to_stderr();
    let config = load(config)?;
    let bindings = Bindings::parse(bind, &config)?;
    block_on(server::init(&config, &InitOptions { make_key_file, bindings }))?;
    let text = format!(
        "made the installation in {} ({}); keep a copy of the key file {} elsewhere: without it \
         nothing opens\n",
        config.data_directory.display(),
        config.environment,
        config.seal.key_file.display(),
    );
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(())
}

fn serve(config: &Path, new_audit_log: bool, bind: &[String]) -> Result<(), ServerError> {
    log_to_stderr();
    let config = load(config)?;
    let bindings = Bindings::parse(bind, &config)?;
    if config.store != bulla::config::StoreKind::Memory && bindings.count() > 0 {
        return Err(ServerError::Binding {
            text: bind.join(" "),
            problem: "is for a store in memory; use: bulla bind".to_owned(),
        });
    }
    block_on(server::serve(&config, &ServeOptions { new_audit_log, bindings }))
}

fn give(config: &Path, bind: &[String]) -> Result<(), ServerError> {
    log_to_stderr();
    let config = load(config)?;
    let bindings = Bindings::parse(bind, &config)?;
    block_on(server::bind(&config, &bindings))
}

fn rotate_audit_key(config: &Path) -> Result<(), ServerError> {
    log_to_stderr();
    let config = load(config)?;
    let key = block_on(server::rotate_audit_key(&config))?;
    let _ = std::io::stdout().write_all(format!("{key}\n").as_bytes());
    Ok(())
}

fn check(config: &Path) -> ExitCode {
    let config = match load(config) {
        Ok(config) => config,
        Err(error) => return told(&error),
    };
    let mut exit = ExitCode::SUCCESS;
    let findings = match block_on(async { Ok(server::check(&config).await) }) {
        Ok(findings) => findings,
        Err(error) => return told(&error),
    };
    let mut text = String::new();
    for finding in findings {
        let (mark, said) = match finding.result {
            Ok(said) => ("ok", said),
            Err(error) => {
                exit = Exit::Configuration.into();
                ("WRONG", error.to_string())
            }
        };
        text.push_str(&format!("{mark:<6} {:<14} {said}\n", finding.subject));
    }
    let _ = std::io::stdout().write_all(text.as_bytes());
    exit
}

fn load(path: &Path) -> Result<Config, ServerError> {
    Ok(Config::load(path, |name| std::env::var(name).ok())?)
}

fn block_on<T>(work: impl Future<Output = Result<T, ServerError>>) -> Result<T, ServerError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("bulla-control")
        .enable_all()
        .build()
        .map_err(|error| ServerError::System("start a runtime", error))?
        .block_on(work)
}

fn told(error: &ServerError) -> ExitCode {
    let exit = match error {
        ServerError::Config(_)
        | ServerError::TrustDomains(_)
        | ServerError::Issuer { .. }
        | ServerError::File { .. }
        | ServerError::Binding { .. }
        | ServerError::Seal(_)
        | ServerError::Start(_)
        | ServerError::NoTenant(_)
        | ServerError::TrailMissing(_)
        | ServerError::MemoryLock => Exit::Configuration,
        ServerError::TrailExists(_) => Exit::CannotCreate,
        ServerError::Store(_)
        | ServerError::Custody(_)
        | ServerError::Trail { .. }
        | ServerError::Notary(_)
        | ServerError::Outside(_)
        | ServerError::Listen { .. }
        | ServerError::Unended(_)
        | ServerError::Refused(_) => Exit::Unavailable,
        ServerError::SelfTest(_)
        | ServerError::Tokens(_)
        | ServerError::CheckpointKey(_)
        | ServerError::System(..)
        | ServerError::Ended(_) => Exit::Internal,
    };
    let text = format!("error: {error}\n");
    let _ = std::io::stderr().write_all(text.as_bytes());
    exit.into()
}

/// What the program does, for its operator; who did what is in the audit log, never here.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("BULLA_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}

/// The store's own thread and the log thread are beside these.
const CONTROL_THREADS: usize = 2;
