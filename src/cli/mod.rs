//! The operator's tool: commands that talk to a server, and the quickstart.
//!
//! Reaches Bulla through [`bulla_client`] alone, as any other program would; it names no module of
//! the server. Answers go to stdout as tables or JSON, everything else to stderr, secrets only
//! where the person says. `main.rs` joins these commands with the server's own (`serve`, `init`,
//! `check`).

mod alias;
mod arguments;
mod audit;
mod campaign;
mod census;
mod compromise;
mod confirm;
mod connection;
mod datakey;
mod escape;
mod explain;
mod exposure;
mod failure;
mod grant;
mod inspect;
mod json;
mod key;
mod ladder;
mod login;
mod output;
mod output_file;
mod pages;
mod policy;
mod proposal;
mod quickstart;
mod relation;
mod retire;
mod rewrap;
mod role;
mod rotate;
mod seal;
mod service_account;
mod status;
mod store;
mod table;
mod tenant;
mod time;
mod token;
mod version;
mod watch;

use std::process::ExitCode;

use bulla_client::{Client, Proposing};
use clap::error::ErrorKind;

pub use audit::{AuditCommand, ExportArguments, ExportFormat, Exporter, VerifyArguments};
pub use campaign::CampaignCommand;
pub use census::CensusArguments;
pub use connection::ConnectionArguments;
pub use datakey::DatakeyCommand;
pub use explain::ExplainArguments;
pub use failure::{EXIT_CODES, Exit, Failure, MEANINGS, Meaning};
pub use grant::GrantCommand;
pub use inspect::InspectArguments;
pub use key::KeyCommand;
pub use login::{IssuerArguments, LoginArguments, LogoutArguments, Sends};
pub use output::{Format, OutputArguments};
pub use policy::PolicyCommand;
pub use proposal::{ApprovalRuleCommand, ProposalCommand};
pub use quickstart::QuickstartArguments;
pub use relation::RelationCommand;
pub use rewrap::RewrapView;
pub use role::RoleCommand;
pub use rotate::RotateArguments;
pub use seal::{DecryptArguments, EncryptArguments};
pub use service_account::{CredentialCommand, ServiceAccountCommand};
pub use store::StoreCommand;
pub use tenant::TenantCommand;
pub use token::TokenCommand;

use output::{Printer, report, write_out};

/// The program with the commands of this module alone. `main.rs` has one of its own that flattens
/// the same parts beside the server's commands.
#[derive(clap::Parser, Debug)]
#[command(name = "bulla", version, about, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Which server, and who is calling.
    #[command(flatten)]
    pub connection: ConnectionArguments,
    /// How answers are written.
    #[command(flatten)]
    pub output: OutputArguments,
}

/// The commands that talk to a server, and the quickstart. To be flattened.
#[derive(clap::Subcommand, Debug)]
pub enum Command {
    /// Keys, their versions and their names
    Key {
        /// Which.
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// Data keys: made and opened one at a time
    Datakey {
        /// Which.
        #[command(subcommand)]
        command: DatakeyCommand,
    },
    /// Encrypt a file under a data key of its own
    Encrypt(EncryptArguments),
    /// Decrypt a file that `bulla encrypt` made
    Decrypt(DecryptArguments),
    /// Say what the header of a blob or of a sealed file claims, and where its version stands
    Inspect(InspectArguments),
    /// Places where blobs are kept
    Store {
        /// Which.
        #[command(subcommand)]
        command: StoreCommand,
    },
    /// Show what each version of a key has issued, and how much of that was moved
    Census(CensusArguments),
    /// Moving every blob of old versions to the active one
    Campaign {
        /// Which.
        #[command(subcommand)]
        command: CampaignCommand,
    },
    /// Rotate what is due, as the server's scheduler does
    Rotate(RotateArguments),
    /// Who did what, and what was refused
    Audit {
        /// Which.
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// Who holds which role
    Role {
        /// Which.
        #[command(subcommand)]
        command: RoleCommand,
    },
    /// Groups and their members, and who stands in which relation to rings and keys
    Relation {
        /// Which.
        #[command(subcommand)]
        command: RelationCommand,
    },
    /// What one principal may do with one key besides
    Grant {
        /// Which.
        #[command(subcommand)]
        command: GrantCommand,
    },
    /// What roles and relations give, as code
    Policy {
        /// Which.
        #[command(subcommand)]
        command: PolicyCommand,
    },
    /// Say why somebody may or may not do something, and what would let them
    Explain(Box<ExplainArguments>),
    /// Callers of your own that have neither a certificate nor a token
    ServiceAccount {
        /// Which.
        #[command(subcommand)]
        command: ServiceAccountCommand,
    },
    /// What proves a service account
    Credential {
        /// Which.
        #[command(subcommand)]
        command: CredentialCommand,
    },
    /// Short-lived tokens for less than you may yourself
    Token {
        /// Which.
        #[command(subcommand)]
        command: TokenCommand,
    },
    /// Changes that need more than one person
    Proposal {
        /// Which.
        #[command(subcommand)]
        command: ProposalCommand,
    },
    /// Which changes need more than one person
    ApprovalRule {
        /// Which.
        #[command(subcommand)]
        command: ApprovalRuleCommand,
    },
    /// The tenants of the installation
    Tenant {
        /// Which.
        #[command(subcommand)]
        command: TenantCommand,
    },
    /// Log in at an issuer of tokens (OpenID Connect), for the commands after this
    Login(LoginArguments),
    /// Forget a login, here and at its issuer
    Logout(LogoutArguments),
    /// Show who the server takes you for
    Whoami,
    /// Show how the server stands
    Status,
    /// Start a server of your own with a table of customers, and rotate its key
    Quickstart(QuickstartArguments),
    /// Write a completion script for a shell to stdout
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// What every command needs: how to reach the server, and how to answer.
pub(crate) struct Session {
    connection: ConnectionArguments,
    printer: Printer,
    /// Where changes are proposed and not made.
    proposing: Option<Proposing>,
}

// === impl Session ===

impl Session {
    /// Connects. Called once a command knows what to ask.
    pub(crate) async fn client(&self) -> Result<Client, Failure> {
        let client = self.connection.connect().await?;
        Ok(match &self.proposing {
            Some(proposing) => client.proposing(proposing),
            None => client,
        })
    }

    /// The same, with changes that are proposed and not made.
    fn proposing(&self, proposing: &Proposing) -> Self {
        let (connection, printer) = (self.connection.clone(), self.printer);
        Self { connection, printer, proposing: Some(proposing.clone()) }
    }
}

/// Parses a command line into the program's own structure.
///
/// # Errors
/// The exit code to end with, after the help, the version or the error was written: 0, or
/// [`Exit::Usage`].
pub fn parse<P: clap::Parser>() -> Result<P, ExitCode> {
    P::try_parse().map_err(|error| {
        let exit = match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
            _ => Exit::Usage.into(),
        };
        // Help that nobody reads to its end is not an error.
        let _ = error.print();
        exit
    })
}

/// Does what was asked and says how it went. `program` is the whole command line, for completions.
pub fn run(
    command: Command,
    connection: ConnectionArguments,
    output: OutputArguments,
    program: clap::Command,
) -> ExitCode {
    let session = Session { connection, printer: Printer::new(output), proposing: None };
    let done = match command {
        Command::Completions { shell } => completions(shell, program),
        Command::Quickstart(arguments) => quickstart::run(arguments, &session.printer),
        remote => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::midway("cannot start", &error))
            .and_then(|runtime| {
                let done = runtime.block_on(run_remote(remote, &session));
                // An interrupted command may have left a thread that waits for input for ever.
                runtime.shutdown_background();
                done
            }),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&failure).into(),
    }
}

async fn run_remote(command: Command, session: &Session) -> Result<(), Failure> {
    match command {
        Command::Key { command } => command.run(session).await,
        Command::Datakey { command } => command.run(session).await,
        Command::Encrypt(arguments) => arguments.run(session).await,
        Command::Decrypt(arguments) => arguments.run(session).await,
        Command::Inspect(arguments) => arguments.run(session).await,
        Command::Store { command } => command.run(session).await,
        Command::Census(arguments) => arguments.run(session).await,
        Command::Campaign { command } => command.run(session).await,
        Command::Rotate(arguments) => arguments.run(session).await,
        Command::Audit { command } => command.run(session).await,
        Command::Role { command } => command.run(session).await,
        Command::Relation { command } => command.run(session).await,
        Command::Grant { command } => command.run(session).await,
        Command::Policy { command } => command.run(session).await,
        Command::Explain(arguments) => arguments.run(session).await,
        Command::ServiceAccount { command } => command.run(session).await,
        Command::Credential { command } => command.run(session).await,
        Command::Token { command } => command.run(session).await,
        Command::Proposal { command } => command.run(session).await,
        Command::ApprovalRule { command } => command.run(session).await,
        Command::Tenant { command } => command.run(session).await,
        Command::Login(arguments) => arguments.run(session).await,
        Command::Logout(arguments) => arguments.run(session).await,
        Command::Whoami => status::whoami(session).await,
        Command::Status => status::status(session).await,
        // Neither talks to a server of somebody else; `run` has done them.
        Command::Quickstart(_) | Command::Completions { .. } => Ok(()),
    }
}

fn completions(shell: clap_complete::Shell, mut program: clap::Command) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut program, "bulla", &mut script);
    write_out(&script)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::{CommandFactory as _, Parser as _};

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_that_changes_something_takes_an_id_to_make_it_happen_once() {
        for line in [
            "key create",
            "key update k --description d",
            "key rotate k",
            "key enable k",
            "key disable k",
            "key suspend k 1",
            "key resume k 1",
            "key restrict k 1",
            "key unrestrict k 1",
            "key compromise k 1",
            "key destroy k 1 --wait 7d",
            "key cancel-destroy k 1",
            "key alias set a k",
            "key alias delete a",
            "key waive k 1 --reason r",
            "key ladder set k",
            "key ladder clear k",
            "key ladder resume k 1",
            "store register a/b --owner o --kind files",
            "store restored a/b --reason r",
            "campaign create k",
            "campaign pause c",
            "campaign resume c",
            "campaign abandon c --reason r",
            &format!(
                "campaign decide c --store s --digest {} --as retry --reason r",
                "ab".repeat(32)
            ),
            "role bind spiffe://d/a key-user",
            "role unbind spiffe://d/a key-user",
            "relation add group:a#member@spiffe://d/a",
            "relation remove group:a#member@spiffe://d/a",
            "grant create k --principal spiffe://d/a --action crypto.decrypt",
            "grant revoke g",
            "policy put p.cedar",
            "policy delete p",
            "tenant create t",
            "tenant update t --max-keys 7",
            "tenant suspend t",
            "tenant resume t",
            "proposal approve p --digest ab",
            "proposal reject p",
            "approval-rule put a --group g --needed 2",
            "approval-rule delete a",
            "service-account create s",
            "service-account delete s",
            "credential create s --out f",
            "credential revoke c",
        ] {
            let words = ["bulla"].into_iter().chain(line.split(' ')).chain(["--request-id", "x"]);
            assert!(Cli::try_parse_from(words).is_ok(), "{line}");
        }
    }

    #[test]
    fn version_zero_is_no_version() {
        for line in
            ["suspend k 0", "retire-check k 0", "waive k 0 --reason r", "exposure k 0 --since 7d"]
        {
            let words = ["bulla", "key"].into_iter().chain(line.split(' '));
            assert!(Cli::try_parse_from(words).is_err(), "{line}");
        }
        assert!(
            Cli::try_parse_from(["bulla", "campaign", "create", "k", "--versions=1,0"]).is_err()
        );
    }

    #[test]
    fn what_a_person_answers_for_needs_a_reason() {
        for line in [
            "key waive k 1",
            "key destroy k 1 --not-safe",
            "store restored a/b",
            "campaign abandon c",
            &format!("campaign decide c --store s --digest {} --as abandoned", "ab".repeat(32)),
        ] {
            let words: Vec<_> = ["bulla"].into_iter().chain(line.split(' ')).collect();
            assert!(Cli::try_parse_from(&words).is_err(), "{line}");
            let with_reason = words.into_iter().chain(["--reason", "r"]);
            assert!(Cli::try_parse_from(with_reason).is_ok(), "{line}");
        }
    }

    #[test]
    fn what_can_be_given_is_taken() {
        for line in [
            "login --issuer https://i --client-id c --device --send id-token --scope openid",
            "logout --issuer https://i --client-id c",
            "whoami --token-file f",
            "token exchange --audience a --actions b,c --keys k --lifetime 10m --out -",
            "credential create s --age-recipient age1 --out f",
            "campaign create k --versions 1,2 --stores a/b,7 --rate 500 --urgent --reason r",
            "campaign list",
            "campaign list k --limit 3",
            "campaign problems c --store s",
            "census k --output json",
            "datakey generate k --without-plaintext --store orders/dek",
            "encrypt f --key k --store 7",
            "key compromise k 1 --since 7d --report r.md --yes",
            "key create --rotation-wraps 9 --rotation-bytes 9 --rotation-time 2027-01-15T08:00:00Z",
            "key exposure k 1 --since 2027-01-15T08:00:00Z",
            "key ladder k",
            "key update k --rotation-time never",
            "proposal create --reason r -- key destroy orders 1 --wait 7d",
            "proposal create --break-glass -- role bind spiffe://d/a key-user",
            "proposal list --all",
            "rotate --due",
            "role bind spiffe://d/a key-user --expires 8h --reason r",
            "relation list --object group:a --relation member --subject spiffe://d/a --limit 3",
            "grant create k --principal p --action a --action b -c x=y --expires 2027-01-15T08:00:00Z",
            "grant list k --limit 3",
            "policy diff a.cedar b.cedar",
            "policy test cases.toml",
            "policy simulate a.cedar --delete b --replay 9",
            "explain p crypto.decrypt k -c a=b --group g --claim a=b --credential-kind token",
            "explain p audit.read --source-address 10.0.0.1 --time 2027-01-15T08:00:00Z",
            "store register a/b --owner o --kind json-lines --write-delay 0",
        ] {
            let words = ["bulla"].into_iter().chain(line.split(' '));
            assert!(Cli::try_parse_from(words).is_ok(), "{line}");
        }
        assert!(Cli::try_parse_from(["bulla", "rotate"]).is_err());
    }

    #[test]
    fn b09_no_flag_takes_a_secret() {
        fn flags(command: &clap::Command, found: &mut Vec<String>) {
            let names = command.get_arguments().map(|argument| argument.get_id().to_string());
            found.extend(names);
            command.get_subcommands().for_each(|inner| flags(inner, found));
        }
        let mut found = Vec::new();
        flags(&Cli::command(), &mut found);
        // These take the path of a file that holds one.
        for path in ["key_file", "token_file"] {
            assert!(found.iter().any(|name| name == path));
            found.retain(|name| name != path);
        }
        for word in ["password", "passphrase", "token", "secret", "private"] {
            assert!(!found.iter().any(|name| name.contains(word)), "{word}");
        }
    }

    #[test]
    fn completions_of_every_shell_know_the_commands() {
        for shell in <clap_complete::Shell as clap::ValueEnum>::value_variants() {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "bulla", &mut script);
            assert!(String::from_utf8(script).unwrap().contains("quickstart"), "{shell}");
        }
    }
}
