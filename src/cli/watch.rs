//! `bulla key watch`: every change to a key, as it happens.

use bulla_client::kms;
use bulla_client::kms::watch_keys_response::Change;

use super::Session;
use super::failure::Failure;
use super::output::{Format, write_out};
use super::table::{Columns, unless_zero, yes_or_no};
use super::version::state_name;

/// Follows until interrupted, or until the server ends the stream.
pub(crate) async fn run(session: &Session, cursor: String) -> Result<(), Failure> {
    let client = session.client().await?;
    let mut changes = client.watch_keys(kms::WatchKeysRequest { cursor }).await?;
    if session.printer.format() == Format::Table {
        write_out(COLUMNS.headings().as_bytes())?;
    }
    while let Some(change) = changes.message().await? {
        session.printer.streamed(&change, || line(&change))?;
    }
    Ok(())
}

fn line(response: &kms::WatchKeysResponse) -> String {
    let (what, name, now) = match &response.change {
        None => ("-", String::new(), String::new()),
        Some(Change::Key(key)) => (
            "key",
            key.key_id.clone(),
            format!(
                "enabled={} active_version={}",
                yes_or_no(key.enabled),
                unless_zero(key.active_version)
            ),
        ),
        Some(Change::Version(version)) => (
            "version",
            version.key_id.clone(),
            format!("version={} state={}", version.version, state_name(version.state)),
        ),
        Some(Change::Alias(alias)) => {
            ("alias", alias.key_id.clone(), format!("alias={}", alias.alias))
        }
        Some(Change::DeletedAlias(alias)) => {
            ("deleted_alias", String::new(), format!("alias={alias}"))
        }
    };
    COLUMNS.row([response.cursor.clone(), what.to_owned(), name, now])
}

const COLUMNS: Columns =
    Columns::new(&[("cursor", 16), ("change", 13), ("key_id", 36), ("now", 0)]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_one_line_whatever_it_says() {
        let version = kms::Version { version: 2, state: 2, ..Default::default() };
        for (change, shown) in [
            (Change::Version(version), "7                 version        -"),
            (Change::DeletedAlias("a\nb".into()), "7                 deleted_alias  -"),
        ] {
            let text = line(&kms::WatchKeysResponse { cursor: "7".into(), change: Some(change) });
            assert!(text.starts_with(shown), "{text}");
            assert_eq!(text.matches('\n').count(), 1);
        }
    }
}
