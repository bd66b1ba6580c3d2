//! The simulator itself: one seed is one run, what is broken is found, and an application of somebody
//! else's runs as well.

use sync_core::document::{Document, Edit, Refused};
use sync_core::error::Sure;
use sync_core::types::{Field, RecordId};
use sync_sim::sweep::{kept_seeds, run_seed};
use sync_sim::{Fault, Invariant, Lacking, Random, Scenario, Workload, run};

#[test]
fn one_seed_is_one_run() {
    for seed in 0..12 {
        let (one, other) = (run_seed(seed, None, false), run_seed(seed, None, true));
        assert_eq!(one.trace.hash(), other.trace.hash(), "seed {seed}");
        assert_eq!((one.marks, one.tally), (other.marks, other.tally), "seed {seed}");
        assert!(!other.trace.lines().is_empty());
    }
    assert_ne!(run_seed(1, None, false).trace.hash(), run_seed(2, None, false).trace.hash());
}

#[test]
fn a_driver_that_breaks_the_rules_is_found() {
    for (mutant, invariants) in [
        ("disk-confirms-early", &[Invariant::DurableBeforeVisible, Invariant::ReceiptNotEarly][..]),
        ("hub-acks-early", &[Invariant::AckAfterHubDisk]),
    ] {
        let found = (0..200).find_map(|seed| run_seed(seed, Some(mutant), false).violation);
        let found = found.map(|violation| violation.invariant);
        assert!(found.is_some_and(|found| invariants.contains(&found)), "{mutant}: {found:?}");
    }
}

/// Accounts that are opened with a balance and an owner, and closed.
struct Accounts {
    opened: u64,
}

impl Workload for Accounts {
    fn change(&mut self, random: &mut Random, edit: &mut Edit<'_>) -> Result<(), Refused> {
        let id = RecordId::new(format!("account {}", random.below(8)))?;
        if edit.document().record("accounts", &id).sure().is_some() {
            return edit.remove("accounts", &id);
        }
        self.opened += 1;
        let fields = [("owner", Field::from("me")), ("balance", Field::from(self.opened as f64))];
        edit.insert("accounts", &id, fields.iter().map(|(name, field)| (*name, field)))
    }

    fn check(&mut self, document: &Document, _: &Lacking) -> Result<(), String> {
        let mut accounts = document.records("accounts").sure().into_iter();
        match accounts.find(|(_, record)| record.fields().len() != 2) {
            Some((id, _)) => Err(format!("{id} has no owner or no balance")),
            None => Ok(()),
        }
    }
}

#[test]
fn another_application_runs_under_faults_of_its_choice() {
    for seed in 0..20 {
        let scenario = Scenario {
            devices: 4,
            changes: 40,
            faults: vec![Fault::Cut, Fault::CrashDevice, Fault::CrashHub, Fault::WipeHub],
            ..Scenario::calm(seed)
        };
        let report = run(scenario, &mut Accounts { opened: 0 });
        assert_eq!(report.violation, None, "seed {seed}");
        assert!(report.tally.changes > 0);
    }
}

#[test]
fn kept_seeds_are_read() {
    assert_eq!(kept_seeds("# head\n12 found this\n\n  7 and that\n# 9 open\n"), [12, 7]);
}
