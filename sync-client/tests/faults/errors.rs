//! Syncs fail, the disk is full, writes end half-way: at every call, once and for ever.

use sync_faults::{Campaign, Fault, Random};

use crate::device::Device;

const FAULTS: [Fault; 3] = [Fault::SyncFails, Fault::DiskFull, Fault::HalfWritten];

/// Opens, writes, and opens again until something fails. Gives whether nothing did.
fn life(device: &mut Device) -> bool {
    let mut random = Random(2);
    (0..2).all(|_| {
        device.open().is_ok()
            && (0..5).all(|_| device.change(&mut random, true).is_ok())
            && device.shut_down().is_ok()
    })
}

/// Whether the calls that a fault is about are syncs.
fn count(device: &Device, fault: Fault) -> u64 {
    match fault {
        Fault::SyncFails => device.disk.calls().syncs,
        Fault::DiskFull | Fault::HalfWritten => device.disk.calls().writes,
    }
}

/// One fault at one call, and what comes after it.
fn run(fault: Fault, at: u64, is_lasting: bool, seed: u64) -> Result<(), String> {
    let mut device = Device::new(false);
    let mut random = Random(seed);
    device.disk.fail(fault, at, is_lasting);
    let is_well = life(&mut device);
    if device.is_open() {
        let count = device.read();
        device.disk.mend();
        for _ in 0..2 {
            // It goes on refusing, though the disk works again, and reading goes on.
            if device.change(&mut random, true).is_ok() {
                return Err("it wrote on after a failure".to_owned());
            }
            assert_eq!(device.read(), count);
        }
        if device.shut_down().is_ok() {
            return Err("the end does not tell of the failure".to_owned());
        }
    } else if is_lasting && !is_well {
        // Not opened, or not ended well: it may be tried again at any time.
        let _ = device.open();
        let _ = device.shut_down();
    }
    device.disk.mend();
    for round in 0..3 {
        device.open().map_err(|error| format!("it does not open again: {error}"))?;
        device.verdict()?;
        for _ in 0..3 {
            device.change(&mut random, true).map_err(|error| error.to_string())?;
        }
        if round < 2 {
            // What was read after a failure, and what was written since, outlive a power cut.
            device.die();
            device.disk.restart(random.draw());
        }
    }
    device.verdict()
}

#[test]
fn nothing_is_lost_by_a_fault_at_any_call_once_or_for_ever() {
    let mut device = Device::new(false);
    assert!(life(&mut device));
    let cases: Vec<(Fault, u64, bool)> = FAULTS
        .into_iter()
        .flat_map(|fault| {
            let calls = 1..=count(&device, fault);
            calls.flat_map(move |at| [(fault, at, false), (fault, at, true)])
        })
        .collect();
    let campaign = Campaign {
        package: "sync-client",
        target: "faults",
        test: "nothing_is_lost_by_a_fault_at_any_call_once_or_for_ever",
        unit: "faults",
        variable: "SYNC_FAULTS",
        ordinary: cases.len() as u64,
    };
    campaign.run(|seed| {
        let (fault, at, is_lasting) = cases[seed as usize % cases.len()];
        run(fault, at, is_lasting, seed)
            .unwrap_or_else(|wrong| panic!("{fault:?} at {at}, for ever: {is_lasting}: {wrong}"));
        1
    });
}
