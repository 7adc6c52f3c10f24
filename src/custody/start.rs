//! Making a store's first rows, and opening a store that has them.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::crypto::{Binding, BlobKind, Header, KeyMaterial, Label, Random};
use crate::keys::{TenantId, Timestamp};
use crate::store::{FORMAT, Row, RowKey, Store};

use super::Custody;
use super::cache::Caches;
use super::credentials::LastUses;
use super::error::CustodyError;
use super::mac::ROW_MAC_LABEL;
use super::read;
use super::rows::{INSTALLATION_ROW, Installation, Record, RootSlot};
use super::seal::{Seal, SealError};
use super::tenant::{Tenants, context};

/// What a custody is opened with.
pub struct Installed {
    /// Where rows are.
    pub store: Arc<dyn Store>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where randomness comes from.
    pub random: Arc<dyn Random>,
    /// The environment that the program is configured for.
    pub environment: String,
}

/// Why a store cannot be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It has rows already.
    #[error("the store holds an installation already; nothing was changed")]
    AlreadyInstalled,
    /// It has no rows yet.
    #[error("the store holds no installation yet; make one with: bulla init")]
    NotInstalled,
    /// It was made for another environment.
    #[error(
        "the store was made for {stored}, and this server is configured for {configured}; environments do not mix"
    )]
    OtherEnvironment {
        /// In the store.
        stored: String,
        /// In the configuration.
        configured: String,
    },
    /// No slot is of the kind that is configured.
    #[error("the store has no slot of the kind {0}; configure the kind that it was made with")]
    NoSuchSlot(&'static str),
    /// The root key did not open.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// Rows could not be read, trusted or written.
    #[error(transparent)]
    Custody(#[from] CustodyError),
}

/// Makes the first rows of an empty store: a fresh root key in one slot.
pub async fn create(with: Installed, seal: &dyn Seal) -> Result<Custody, StartError> {
    if installation_row(&*with.store).await?.is_some() {
        return Err(StartError::AlreadyInstalled);
    }
    let mut ids = [0; 32];
    with.random.fill(&mut ids).map_err(CustodyError::from)?;
    let (id, slot_id) = halves(&ids);
    let now = Timestamp::from_unix_ms(with.clock.unix_ms());
    let root = KeyMaterial::generate(&*with.random).map_err(CustodyError::from)?;
    let binding = slot_binding(&id, &slot_id, seal.kind(), FIRST_GENERATION)?;
    let slot = RootSlot {
        id: slot_id,
        kind: seal.kind().to_owned(),
        root_generation: FIRST_GENERATION,
        wrapped_root: seal.wrap(&*with.random, &binding, &root)?,
        create_time: now,
    };
    let installation = Installation {
        id,
        environment: with.environment.clone(),
        create_time: now,
        root_generation: FIRST_GENERATION,
    };
    // What is written must open, or everything made under it would be lost.
    seal.open(&binding, &slot.wrapped_root)?;
    let custody = custody(with, &root, installation, seal.kind());
    let puts = vec![
        custody.seal_of_installation(&custody.installation),
        custody.seal_of_installation(&slot),
    ];
    custody.put_new(puts).await?;
    Ok(custody)
}

/// Opens a store: the root key by `seal`, then every tenant's key.
pub async fn open(with: Installed, seal: &dyn Seal) -> Result<Custody, StartError> {
    let row = installation_row(&*with.store).await?.ok_or(StartError::NotInstalled)?;
    if row.format > FORMAT {
        return Err(CustodyError::NewerFormat { kind: Installation::KIND }.into());
    }
    // Believed only once the root key that it leads to has verified it; refusing comes before that.
    let claimed = Installation::decode(&row.key.id, &row.body)
        .map_err(|_| tampered(Installation::KIND, "its body is malformed"))?;
    if claimed.environment != with.environment {
        return Err(StartError::OtherEnvironment {
            stored: claimed.environment,
            configured: with.environment,
        });
    }
    let (slot_row, slot) = slot_of_kind(&*with.store, seal.kind()).await?;
    let binding = slot_binding(&claimed.id, &slot.id, seal.kind(), slot.root_generation)?;
    let root = seal.open(&binding, &slot.wrapped_root)?;
    let custody = custody(with, &root, claimed, seal.kind());
    let _: Installation = read::trust(&custody.root_row_mac, &row)?;
    let _: RootSlot = read::trust(&custody.root_row_mac, &slot_row)?;
    custody.open_tenants().await?;
    Ok(custody)
}

fn custody(
    with: Installed,
    root: &KeyMaterial,
    installation: Installation,
    seal_kind: &str,
) -> Custody {
    Custody {
        store: with.store,
        clock: with.clock,
        random: with.random,
        seal_kind: seal_kind.to_owned(),
        root: root.kek(),
        root_row_mac: root.mac_key(ROW_MAC_LABEL),
        root_token: root.mac_key(TOKEN_LABEL),
        installation,
        tenants: ArcSwap::from_pointee(Tenants::default()),
        caches: Caches::new(),
        followed: watch::Sender::new(0),
        last_uses: LastUses::default(),
        census_place: tokio::sync::Mutex::new(None),
    }
}

async fn installation_row(store: &dyn Store) -> Result<Option<Row>, CustodyError> {
    let key = RowKey {
        tenant: *TenantId::INSTALLATION.as_bytes(),
        kind: Installation::KIND,
        id: INSTALLATION_ROW.to_vec(),
    };
    Ok(store.load(&[key]).await?.into_iter().next().flatten())
}

async fn slot_of_kind(
    store: &dyn Store,
    kind: &'static str,
) -> Result<(Row, RootSlot), StartError> {
    let rows =
        read::page::<RootSlot>(store, TenantId::INSTALLATION, Vec::new(), None, SLOTS_MAX).await?;
    for row in rows {
        let slot = RootSlot::decode(&row.key.id, &row.body)
            .map_err(|_| tampered(RootSlot::KIND, "its body is malformed"))?;
        if slot.kind == kind {
            return Ok((row, slot));
        }
    }
    Err(StartError::NoSuchSlot(kind))
}

fn slot_binding(
    installation_id: &[u8; 16],
    slot_id: &[u8; 16],
    kind: &str,
    generation: u32,
) -> Result<Binding, CustodyError> {
    let context = context([
        ("installation_id", hex::encode(installation_id)),
        ("slot_kind", kind.to_owned()),
    ])?;
    let header =
        Header::new(BlobKind::Root, *slot_id, generation, 0).map_err(CustodyError::from)?;
    Ok(Binding::new(&header, TenantId::INSTALLATION.as_bytes(), &context))
}

fn halves(bytes: &[u8; 32]) -> ([u8; 16], [u8; 16]) {
    let mut halves = ([0; 16], [0; 16]);
    let (front, back) = bytes.split_at(16);
    halves.0.copy_from_slice(front);
    halves.1.copy_from_slice(back);
    halves
}

fn tampered(kind: u8, problem: &'static str) -> CustodyError {
    CustodyError::Tampered { kind, problem }
}

const FIRST_GENERATION: u32 = 1;
const SLOTS_MAX: usize = 100;

/// The KBKDF label of the key that the seed of the token-signing key is made with.
const TOKEN_LABEL: Label = Label::new("bulla-token-v1");
