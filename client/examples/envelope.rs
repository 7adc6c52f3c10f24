//! Seals a message and opens it again.
//!
//! Give the server and the three files, then run it:
//!
//! ```sh
//! export BULLA_SERVER=https://localhost:7443 BULLA_CA=ca.pem
//! export BULLA_CERTIFICATE=client.pem BULLA_KEY=client.key
//! cargo run -p bulla-client --example envelope
//! ```

use bulla_client::{Client, Config, Envelope};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::connect(Config::from_env()?).await?;

    // One key for the table; what the data is about goes into the encryption context.
    let envelope = Envelope::new(client, "customers").context([("table", "customers")]);

    let sealed = envelope.seal(b"jane@example.org").await?;
    // Store `sealed` wherever the data belongs. Later, or elsewhere:
    let opened = envelope.open(&sealed).await?;

    assert_eq!(opened, b"jane@example.org");
    Ok(())
}
