//! A close look at a database for a plan, with the services running, and a quick one for an attestation. Both only read.

use super::PostgresStorage;
use super::inventory::{Found, Inventory, bytes};
use super::ledger::{Ledger, migrations};
use super::recovery::{SYSTEM, needed_bytes};
use super::{dependents, identity, obstacles, session_settings, sessions};
use crate::digest::{self, consistency};
use crate::sqlite::free_bytes;
use crate::storage::Look;
use crate::{StorageError, clock};
use cutover_vocabulary::outcome::StorageAttestation;
use cutover_vocabulary::storage::{LISTED_ROWS, LedgerSurvey, SessionKind};
use cutover_vocabulary::survey::StorageSurvey;

impl PostgresStorage {
    /// Reads every ledger in a snapshot of its own, one after another.
    pub(super) fn look_closely(&self, look: &Look<'_>) -> Result<StorageSurvey, StorageError> {
        let client = self.look()?;
        let inventory = Inventory::of(&client)?;
        let seen = sessions::look(self, &client, &inventory.schemas())?;
        let obstacles = obstacles::find(self, &client, &inventory)?;
        let read_only = identity::not_writable(&client)?.map(str::to_owned);
        let system = if inventory.registered.is_some() { bytes(&client, SYSTEM)? } else { 0 };
        let dependents = inventory
            .ledgers
            .iter()
            .map(|found| dependents::find(&client, found.name.as_str()))
            .collect::<Result<Vec<_>, _>>()?;
        let session_settings = session_settings::ask(self, &client)?;
        self.keep(client);
        let mut ledgers = Vec::new();
        for (found, dependents) in inventory.ledgers.iter().zip(dependents) {
            let survey = self.reading(&found.name, |ledger| read(ledger, found))?;
            ledgers.push(LedgerSurvey { dependents, ..survey });
        }
        let strangers = seen.into_iter().filter(|seen| seen.is_stranger(look.exceptions)).map(|seen| seen.session);
        let sessions = strangers.filter(|session| match session.kind {
            SessionKind::LockHolder | SessionKind::Writer => true,
            // Instances run now, and readers disturb nobody.
            SessionKind::Ledger | SessionKind::Reader => false,
        });
        let unreadable = inventory.unreadable.into_iter();
        let unreadable = unreadable.map(|(schema, what)| (schema, format!("{what} that the role may not read")));
        // A dump is smaller than the tables with their indexes, compressed even more so. What proves it is restored into
        // another database of the server, on disks that nobody can ask for from here.
        let needed = inventory.ledgers.iter().map(|found| found.bytes).chain([system]);
        Ok(StorageSurvey {
            identity: self.identity.clone(),
            ledgers,
            registered: inventory.registered,
            skipped: inventory.foreign.into_iter().chain(unreadable).collect(),
            strangers: Vec::new(),
            free_bytes: free_bytes(look.recovery)?,
            needed_bytes: needed.map(needed_bytes).fold(0, u64::saturating_add),
            read_only,
            sessions: sessions.collect(),
            obstacles,
            session_settings,
        })
    }

    /// Sessions first, then what is there: whoever comes later than the first look is seen by the next attestation.
    pub(super) fn look_quickly(&self, look: &Look<'_>) -> Result<StorageAttestation, StorageError> {
        let client = self.look()?;
        let inventory = Inventory::of(&client)?;
        let seen = sessions::look(self, &client, &inventory.schemas())?;
        let mut not_visible = sessions::not_visible(self, &seen, look.exceptions);
        not_visible.extend(inventory.unreadable.iter().map(|(schema, what)| {
            format!("schema {}: {what} that the role may not read", cutover_vocabulary::name::shown(schema))
        }));
        let records =
            |found: &Found| Ok((found.name.clone(), migrations(&client, found.name.as_str(), &found.columns)?));
        let attestation = StorageAttestation {
            storage: self.identity.clone(),
            ledgers: inventory.ledgers.iter().map(|found| found.name.clone()).collect(),
            migrations: inventory.ledgers.iter().map(records).collect::<Result<_, StorageError>>()?,
            openers: Vec::new(),
            sessions: seen
                .into_iter()
                .filter(|seen| seen.is_stranger(look.exceptions))
                .map(|seen| seen.session)
                .collect(),
            not_visible,
            at: clock::wall(),
        };
        self.keep(client);
        Ok(attestation)
    }
}

fn read(ledger: &Ledger, found: &Found) -> Result<LedgerSurvey, StorageError> {
    let reading = digest::read(ledger, &mut |_| Ok(()))?;
    let check = consistency::check(ledger, LISTED_ROWS)?;
    Ok(LedgerSurvey {
        name: found.name.clone(),
        migrations: ledger.migrations()?,
        legacy_layout: ledger.layout().is_legacy(),
        transactions: ledger.count()?,
        bytes: found.bytes,
        losses: reading.losses,
        bad_rows: ledger.bad_rows(LISTED_ROWS)?,
        inconsistencies: check.listed.iter().map(ToString::to_string).collect(),
        dependents: Vec::new(),
        damage: check.damage,
    })
}
