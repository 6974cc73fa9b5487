//! Commits, losses of power, damage: before or after, never between.

//! The journal under power loss at every write, and on every kind of damaged file.

use super::*;
use crate::memory::{FileMedium, PowerSupply, Powered, RamMedium, Survival};

const A: ObjectId = ObjectId::new(1, 1, 0, 0);
const B: ObjectId = ObjectId::new(1, 1, 0, 1);

fn pair(value: u8) -> Batch {
    let mut batch = Batch::new();
    batch.put(A, &[value; 40]).put(B, &[value; 3]);
    batch
}

fn value(memory: &impl Memory) -> u8 {
    let a = memory.get(A).unwrap();
    assert!(a.iter().all(|x| *x == a[0]));
    assert_eq!(memory.get(B).unwrap(), &[a[0]; 3], "both objects change together");
    a[0]
}

const SURVIVALS: [Survival; 5] =
    [Survival::None, Survival::All, Survival::Front(100), Survival::Back(100), Survival::Front(255)];

#[test]
fn power_loss_at_every_operation_leaves_before_or_after() {
    for survival in SURVIVALS {
        for torn in [0, 1, 128, 255] {
            for cut in 0..3 {
                let supply = PowerSupply::new();
                let medium = Powered::new(RamMedium::new(survival), supply.clone());
                let mut memory = JournalMemory::format(medium).unwrap();
                memory.commit(&pair(1)).unwrap();
                supply.cut_after(cut, torn);
                let committed = memory.commit(&pair(2)).is_ok();
                assert_eq!(committed, cut >= 2, "a commit is one write and one sync");
                supply.switch_off();
                assert!(memory.commit(&pair(9)).is_err(), "nothing works without power");
                supply.restore();
                memory.power_on().unwrap();
                let after = value(&memory);
                assert!(after == 1 || after == 2);
                assert!(!committed || after == 2, "what was reported durable is durable");
                memory.commit(&pair(3)).unwrap();
                memory.power_on().unwrap();
                assert_eq!(value(&memory), 3);
            }
        }
    }
}

#[test]
fn power_loss_while_an_area_is_exchanged_leaves_before_or_after() {
    for survival in SURVIVALS {
        // 1200 commits of ~90 bytes pass the end of a 32 KiB area several times.
        for cut in 0..2 {
            let supply = PowerSupply::new();
            let mut memory =
                JournalMemory::format(Powered::new(RamMedium::new(survival), supply.clone())).unwrap();
            let mut last = 0;
            let mut cut_here = false;
            for round in 0..1200u32 {
                let next = (round % 250) as u8;
                let near_the_end = memory.place.offset + 200 > AREA_LEN;
                if near_the_end && !cut_here {
                    supply.cut_after(cut, 77);
                }
                cut_here = near_the_end && !cut_here;
                if memory.commit(&pair(next)).is_ok() {
                    last = next;
                } else {
                    supply.restore();
                    memory.power_on().unwrap();
                    let now = value(&memory);
                    assert!(now == last || now == next);
                    last = now;
                }
                assert_eq!(value(&memory), last);
            }
            supply.keep_on();
            memory.power_on().unwrap();
            assert_eq!(value(&memory), last);
            assert!(memory.place.generation > 2, "areas were exchanged");
        }
    }
}

#[test]
fn a_full_disk_refuses_the_change_and_keeps_the_rest() {
    let medium = RamMedium::new(Survival::None);
    let full = medium.full_disk_switch();
    let mut memory = JournalMemory::format(medium).unwrap();
    memory.commit(&pair(1)).unwrap();
    *full.lock().unwrap() = true;
    assert!(matches!(memory.commit(&pair(2)), Err(MemoryFault::Refused(_))));
    assert_eq!(value(&memory), 1);
    *full.lock().unwrap() = false;
    memory.commit(&pair(3)).unwrap();
    memory.power_on().unwrap();
    assert_eq!(value(&memory), 3);
}

#[test]
fn objects_and_images_beyond_their_limits_are_refused() {
    let mut memory = JournalMemory::format(RamMedium::default()).unwrap();
    let mut large = Batch::new();
    large.put(A, &[0; crate::memory::MAX_OBJECT + 1]);
    assert!(matches!(memory.commit(&large), Err(MemoryFault::Refused(_))));
    let mut refused = false;
    for index in 0..20 {
        let mut batch = Batch::new();
        batch.put(ObjectId::new(1, 2, 0, index), &[index; crate::memory::MAX_OBJECT]);
        refused |= memory.commit(&batch).is_err();
    }
    assert!(refused, "memory has an end");
    memory.power_on().unwrap();
    assert_eq!(memory.get(ObjectId::new(1, 2, 0, 0)).unwrap()[0], 0);
}

#[test]
fn a_record_lost_before_the_last_one_is_damage_and_not_a_rollback() {
    let mut memory = JournalMemory::format(RamMedium::default()).unwrap();
    memory.commit(&pair(1)).unwrap();
    let first_end = memory.place.offset;
    memory.commit(&pair(2)).unwrap();
    let whole = memory.medium_mut().read_all().unwrap().into_owned();

    let mut torn_last = whole.clone();
    torn_last[AREAS_AT + first_end + 30] ^= 1;
    assert_eq!(value(&JournalMemory::open(RamMedium::holding(torn_last)).unwrap()), 1);

    let mut broken = whole.clone();
    broken[AREAS_AT + first_end - 20] ^= 1;
    assert!(matches!(JournalMemory::open(RamMedium::holding(broken)), Err(MemoryFault::Damaged(_))));

    let mut no_snapshot = whole;
    no_snapshot[AREAS_AT + 5] ^= 1;
    assert!(matches!(JournalMemory::open(RamMedium::holding(no_snapshot)), Err(MemoryFault::Damaged(_))));
}

#[test]
fn a_broken_newer_snapshot_is_damage_and_not_a_rollback() {
    let mut memory = JournalMemory::format(RamMedium::default()).unwrap();
    while memory.place.generation == 1 {
        memory.commit(&pair(7)).unwrap();
    }
    memory.commit(&pair(8)).unwrap();
    let mut whole = memory.medium_mut().read_all().unwrap().into_owned();
    whole[area_at(memory.place.area) + 30] ^= 1;
    assert!(matches!(JournalMemory::open(RamMedium::holding(whole)), Err(MemoryFault::Damaged(_))));
}

#[test]
fn other_files_and_versions_are_refused_by_name() {
    let mut memory = JournalMemory::format(RamMedium::default()).unwrap();
    let mut whole = memory.medium_mut().read_all().unwrap().into_owned();
    whole[9] = 2;
    let newer = JournalMemory::open(RamMedium::holding(whole)).err().unwrap().to_string();
    assert!(newer.contains("version 2"), "{newer}");
    let other = JournalMemory::open(RamMedium::holding(vec![b'x'; 4096])).err().unwrap().to_string();
    assert!(other.contains("not a card memory file"), "{other}");
    assert!(JournalMemory::open(RamMedium::holding(Vec::new())).is_err());
}

#[test]
fn a_file_keeps_its_objects_is_its_owners_alone_and_has_one_user() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("card.tlc");
    let mut memory = JournalMemory::format(FileMedium::create(&path).unwrap()).unwrap();
    memory.commit(&pair(5)).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(FileMedium::open(&path).is_err(), "a second user is refused");
    drop(memory);
    assert_eq!(value(&JournalMemory::open(FileMedium::open(&path).unwrap()).unwrap()), 5);
    assert!(FileMedium::create(&path).is_err(), "an existing card is not overwritten");
}

#[test]
fn a_file_torn_at_every_operation_is_before_or_after() {
    let folder = tempfile::tempdir().unwrap();
    for (index, (cut, torn)) in [(0, 0), (0, 60), (0, 200), (1, 0), (2, 0)].into_iter().enumerate() {
        let path = folder.path().join(format!("card{index}.tlc"));
        let supply = PowerSupply::new();
        let medium = Powered::new(FileMedium::create(&path).unwrap(), supply.clone());
        let mut memory = JournalMemory::format(medium).unwrap();
        memory.commit(&pair(1)).unwrap();
        supply.cut_after(cut, torn);
        let committed = memory.commit(&pair(2)).is_ok();
        drop(memory);
        let reopened = JournalMemory::open(FileMedium::open(&path).unwrap()).unwrap();
        let now = value(&reopened);
        assert!(now == 2 || (now == 1 && !committed));
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_on_the_medium_are_refused_or_read_without_panic(
        flips in proptest::collection::vec((0usize..70_000, 0u8..=255), 1..8),
    ) {
        let mut memory = JournalMemory::format(RamMedium::default()).unwrap();
        memory.commit(&pair(1)).unwrap();
        let mut whole = memory.medium_mut().read_all().unwrap().into_owned();
        for (at, byte) in flips {
            let at = at % whole.len().min(1200);
            whole[at] = byte;
        }
        let _ = JournalMemory::open(RamMedium::holding(whole));
    }
}
