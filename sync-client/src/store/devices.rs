//! What is known of other devices, as it is stored.

use rusqlite::{Connection, Row, params};

use sync_core::causal::ReplicaId;
use sync_core::session::Device;

use super::StoreError;
use super::rows::{self, Key};

/// What devices are told apart by.
fn fingerprint(replica: &ReplicaId) -> &[u8] {
    &replica.as_bytes()[..12]
}

/// Keeps a device in place of what was known of it.
pub(super) fn know(
    connection: &Connection,
    document: i64,
    device: &Device,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO devices (document, fingerprint, body) VALUES (?1, ?2, ?3)
               ON CONFLICT (document, fingerprint) DO UPDATE SET body = excluded.body";
    let body = rows::body(1, |out| device.encode_into(out));
    let row = params![document, fingerprint(&device.replica), body];
    connection.prepare_cached(sql)?.execute(row)?;
    Ok(())
}

/// Takes out a device.
pub(super) fn forget(
    connection: &Connection,
    document: i64,
    replica: ReplicaId,
) -> Result<(), StoreError> {
    let sql = "DELETE FROM devices WHERE document = ?1 AND fingerprint = ?2";
    connection.prepare_cached(sql)?.execute(params![document, fingerprint(&replica)])?;
    Ok(())
}

/// Reads the devices of a document.
pub(super) fn load(connection: &Connection, document: i64) -> Result<Vec<Device>, StoreError> {
    let sql = "SELECT number, fingerprint, body FROM devices WHERE document = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let mut found = statement.query([document])?;
    let mut devices = Vec::new();
    while let Some(row) = found.next()? {
        devices.push(read(row)?);
    }
    Ok(devices)
}

/// Looks at a row of the columns number, fingerprint, body.
pub(super) fn look(row: &Row<'_>) -> Result<(), StoreError> {
    read(row).map(|_| ())
}

fn read(row: &Row<'_>) -> Result<Device, StoreError> {
    let number: i64 = row.get(0)?;
    let at = Key { table: "devices", key: &number };
    let device = rows::read(at, row.get_ref(2)?.as_blob()?, 1, Device::decode)?;
    let is_it = row.get_ref(1)?.as_blob()? == fingerprint(&device.replica);
    if is_it { Ok(device) } else { Err(at.damaged()) }
}
