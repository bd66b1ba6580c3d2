//! The power fails, at random and at every call.

use sync_faults::{Campaign, Random, Syncs};

use crate::device::Device;

/// How often the power fails in one history. Arbitrary.
const CUTS: u64 = 10;

const HISTORIES: Campaign = Campaign {
    package: "sync-client",
    target: "faults",
    test: "what_was_said_to_be_on_disk_is_there_after_any_power_cut",
    unit: "power cuts",
    variable: "SYNC_CUTS",
    ordinary: 400,
};

/// Writes until something fails or enough is written. Gives whether nothing failed.
fn write(device: &mut Device, random: &mut Random, changes: u64) -> bool {
    (0..changes).all(|_| {
        let waits = random.once_in(2);
        device.change(random, waits).is_ok()
    })
}

/// Brings the power back, and looks at what is there.
fn come_back(device: &mut Device, seed: u64) -> Result<(), String> {
    device.die();
    device.disk.restart(seed);
    device.open().map_err(|error| format!("it does not open again: {error}"))?;
    device.verdict()
}

/// A history of one device: it lives, and the power fails at a random call, again and again.
fn history(seed: u64, syncs: Syncs) -> Result<u64, String> {
    let mut random = Random(seed);
    let mut device = Device::new(random.once_in(2));
    device.disk.set_syncs(syncs);
    for _ in 0..CUTS {
        device.disk.cut_at(1 + random.below(400));
        for _ in 0..=random.below(2) {
            let is_up = device.shut_down().is_ok() && device.open().is_ok();
            let changes = random.below(30);
            if !is_up || !write(&mut device, &mut random, changes) {
                assert!(device.disk.is_off(), "only without power anything fails");
                break;
            }
        }
        come_back(&mut device, random.draw())?;
        // What opening wrote need not stay either.
        come_back(&mut device, random.draw())?;
    }
    Ok(CUTS)
}

#[test]
fn what_was_said_to_be_on_disk_is_there_after_any_power_cut() {
    HISTORIES.run(|seed| history(seed, Syncs::All).unwrap_or_else(|wrong| panic!("{wrong}")));
}

#[test]
fn a_store_that_leaves_out_syncs_is_caught() {
    for syncs in [Syncs::Normal, Syncs::Off] {
        let caught = (0..20).filter(|seed| history(*seed, syncs).is_err()).count();
        assert!(caught >= 10, "{syncs:?}: {caught} of 20");
    }
}

/// A life with each kind of call in it. The same calls each time, as far as threads allow.
fn life(device: &mut Device) -> bool {
    let mut random = Random(1);
    for changes in [6, 3] {
        let is_well = device.open().is_ok()
            && (0..changes).all(|_| device.change(&mut random, true).is_ok())
            && write(device, &mut random, 4)
            && device.shut_down().is_ok();
        if !is_well {
            return false;
        }
    }
    true
}

#[test]
fn the_power_may_fail_at_every_call_of_a_life() {
    let calls = [false, true].map(|records| {
        let mut device = Device::new(records);
        assert!(life(&mut device));
        device.disk.calls().all
    });
    let every_call = Campaign {
        test: "the_power_may_fail_at_every_call_of_a_life",
        ordinary: 2 * calls[0].max(calls[1]),
        ..HISTORIES
    };
    every_call.run(|seed| {
        let records = seed % 2 == 1;
        let mut device = Device::new(records);
        device.disk.cut_at(1 + seed / 2 % calls[usize::from(records)]);
        assert!(life(&mut device) || device.disk.is_off());
        come_back(&mut device, seed).unwrap_or_else(|wrong| panic!("{wrong}"));
        assert!(write(&mut device, &mut Random(seed), 3));
        come_back(&mut device, seed + 1).unwrap_or_else(|wrong| panic!("{wrong}"));
        1
    });
}
